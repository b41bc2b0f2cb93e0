import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { STORAGE_KEY, createStore } from '../src/store.js';

function memoryStorage() {
  const entries = new Map();
  return {
    getItem: (key) => entries.get(key) ?? null,
    setItem: (key, value) => void entries.set(key, value),
  };
}

const titles = (store) => store.getState().todos.map((todo) => todo.title);

describe('store', () => {
  it('starts empty', () => {
    const store = createStore({ storage: memoryStorage() });
    assert.deepEqual(store.getState(), { todos: [], filter: 'all', saved: true });
  });

  it('gives every to-do an id of its own', () => {
    const store = createStore({ storage: memoryStorage() });
    for (let i = 0; i < 50; i += 1) store.add('Same title');
    assert.equal(new Set(store.getState().todos.map((todo) => todo.id)).size, 50);
  });

  it('finds the list again after a page load', () => {
    const storage = memoryStorage();
    const before = createStore({ storage });
    before.add('Buy milk');
    before.add('File taxes');
    before.add('Water the plants');
    before.toggle(before.getState().todos[1].id);
    before.remove(before.getState().todos[0].id);

    const after = createStore({ storage });
    assert.deepEqual(titles(after), ['File taxes', 'Water the plants']);
    assert.deepEqual(after.getState().todos.map((todo) => todo.done), [true, false]);

    after.clearCompleted();
    assert.deepEqual(titles(createStore({ storage })), ['Water the plants']);
  });

  it('says why a to-do was not added, and stores nothing', () => {
    const storage = memoryStorage();
    const store = createStore({ storage });
    assert.match(store.add('  '), /Write something/);
    assert.equal(store.add('Buy milk'), null);
    assert.deepEqual(titles(store), ['Buy milk']);
  });

  it('tells subscribers of changes only, until they leave', () => {
    const store = createStore({ storage: memoryStorage() });
    const seen = [];
    const leave = store.subscribe((state) => seen.push(`${state.filter}:${state.todos.length}`));

    store.add('Buy milk');
    store.toggle('unknown');
    store.clearCompleted();
    store.setFilter('all');
    store.setFilter('sideways');
    store.setFilter('active');
    leave();
    store.add('File taxes');

    assert.deepEqual(seen, ['all:1', 'active:1']);
  });

  it('takes over what another tab stored', () => {
    const storage = memoryStorage();
    const here = createStore({ storage });
    const there = createStore({ storage });
    here.setFilter('active');
    there.add('From the other tab');

    assert.deepEqual(titles(here), []);
    here.reload();
    assert.deepEqual(titles(here), ['From the other tab']);
    assert.equal(here.getState().filter, 'active');
  });

  it('starts over when the stored text is damaged', () => {
    const storage = memoryStorage();
    storage.setItem(STORAGE_KEY, '{"version":1,"todos":[{');
    const store = createStore({ storage });
    assert.deepEqual(titles(store), []);
    store.add('Buy milk');
    assert.deepEqual(titles(createStore({ storage })), ['Buy milk']);
  });

  it('goes on in memory when storage is full', () => {
    const storage = {
      getItem: () => null,
      setItem: () => {
        throw new Error('QuotaExceededError');
      },
    };
    const store = createStore({ storage });
    assert.equal(store.getState().saved, true);
    store.add('Buy milk');
    assert.deepEqual(titles(store), ['Buy milk']);
    assert.equal(store.getState().saved, false);
  });

  it('goes on in memory when storage is forbidden', () => {
    const forbid = () => {
      throw new Error('SecurityError');
    };
    const store = createStore({ storage: { getItem: forbid, setItem: forbid } });
    assert.equal(store.getState().saved, false);
    store.add('Buy milk');
    store.reload();
    assert.deepEqual(titles(store), ['Buy milk']);
  });
});
