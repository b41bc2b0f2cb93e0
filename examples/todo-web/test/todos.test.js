import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import {
  MAX_TITLE_LENGTH,
  addTodo,
  clearCompleted,
  countTodos,
  deleteTodo,
  filterTodos,
  parseTodos,
  serializeTodos,
  titleProblem,
  toggleTodo,
} from '../src/todos.js';

const milk = Object.freeze({ id: 'a', title: 'Buy milk', done: false });
const taxes = Object.freeze({ id: 'b', title: 'File taxes', done: true });
const todos = Object.freeze([milk, taxes]);

describe('titles', () => {
  it('accepts ordinary text', () => {
    assert.equal(titleProblem('Buy milk'), null);
  });

  it('refuses empty and blank text', () => {
    for (const blank of ['', '   ', '\n\t', null, undefined]) {
      assert.match(titleProblem(blank), /Write something/);
    }
  });

  it('measures the length after cleaning up', () => {
    assert.equal(titleProblem(`  ${'x'.repeat(MAX_TITLE_LENGTH)}  `), null);
    assert.match(titleProblem('x'.repeat(MAX_TITLE_LENGTH + 1)), /200 characters/);
  });
});

describe('changing the list', () => {
  it('adds at the end, cleaned up and not done', () => {
    const next = addTodo(todos, 'c', '  Call \n the   dentist ');
    assert.deepEqual(next, [milk, taxes, { id: 'c', title: 'Call the dentist', done: false }]);
    assert.equal(todos.length, 2, 'the list passed in is left alone');
  });

  it('returns the same list when the title cannot be used', () => {
    assert.equal(addTodo(todos, 'c', '   '), todos);
  });

  it('toggles one to-do both ways', () => {
    const once = toggleTodo(todos, 'a');
    assert.deepEqual(once, [{ ...milk, done: true }, taxes]);
    assert.equal(once[1], taxes, 'the others are not copied');
    assert.deepEqual(toggleTodo(once, 'a'), todos);
  });

  it('deletes one to-do', () => {
    assert.deepEqual(deleteTodo(todos, 'a'), [taxes]);
  });

  it('returns the same list for an unknown id', () => {
    assert.equal(toggleTodo(todos, 'nope'), todos);
    assert.equal(deleteTodo(todos, 'nope'), todos);
  });

  it('clears what is completed', () => {
    assert.deepEqual(clearCompleted(todos), [milk]);
    const open = [milk];
    assert.equal(clearCompleted(open), open);
  });
});

describe('looking at the list', () => {
  it('filters', () => {
    assert.deepEqual(filterTodos(todos, 'all'), [milk, taxes]);
    assert.deepEqual(filterTodos(todos, 'active'), [milk]);
    assert.deepEqual(filterTodos(todos, 'completed'), [taxes]);
  });

  it('counts', () => {
    assert.deepEqual(countTodos(todos), { total: 2, active: 1, completed: 1 });
    assert.deepEqual(countTodos([]), { total: 0, active: 0, completed: 0 });
  });
});

describe('stored text', () => {
  it('reads back what it wrote', () => {
    assert.deepEqual(parseTodos(serializeTodos(todos)), todos);
  });

  it('treats missing or damaged text as an empty list', () => {
    const damaged = [null, '', '{', '[]', '42', '{"version":1}', '{"version":2,"todos":[]}'];
    for (const text of damaged) {
      assert.deepEqual(parseTodos(text), [], `for ${text}`);
    }
  });

  it('keeps the good entries and drops the bad ones', () => {
    const text = JSON.stringify({
      version: 1,
      todos: [milk, null, 'x', { id: 7, title: 'No' }, { id: 'c', title: ' ' }, { ...milk }, { id: 'd', title: 'Yes' }],
    });
    assert.deepEqual(parseTodos(text), [milk, { id: 'd', title: 'Yes', done: false }]);
  });
});
