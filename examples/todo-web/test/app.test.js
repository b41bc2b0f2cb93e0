import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Window } from 'happy-dom';

import { mountApp, summaryText } from '../src/app.js';
import { createStore } from '../src/store.js';

let window;
let root;
let store;
let unmount;

beforeEach(() => {
  window = new Window({ url: 'http://localhost:3000/' });
  window.document.body.innerHTML = '<div id="app"></div>';
  root = window.document.querySelector('#app');
  store = createStore({ storage: window.localStorage });
  unmount = mountApp(root, store);
});

afterEach(() => window.happyDOM.close());

// The helpers find things the way a person or an automation agent does: by the
// label of a field and by the name of a button.
const nameOf = (button) => button.getAttribute('aria-label') ?? button.textContent.trim();

function button(name) {
  const found = [...root.querySelectorAll('button')].filter((each) => nameOf(each) === name);
  assert.equal(found.length, 1, `exactly one button named ${name}`);
  return found[0];
}

function field(text) {
  const found = [...root.querySelectorAll('label')].filter((each) => each.textContent.trim() === text);
  assert.equal(found.length, 1, `exactly one field labelled ${text}`);
  assert.ok(found[0].control, `the label ${text} belongs to a field`);
  return found[0].control;
}

const shown = () => [...root.querySelectorAll('li .title')].map((title) => title.textContent);
const summary = () => root.querySelector('[role="status"]').textContent;
const alertText = () => root.querySelector('[role="alert"]').textContent;

function type(text) {
  const input = field('New to-do');
  input.value = text;
  input.dispatchEvent(new window.Event('input', { bubbles: true }));
}

function add(...titles) {
  for (const title of titles) {
    type(title);
    button('Add').click();
  }
}

describe('adding', () => {
  it('shows the new to-do, empties the field and keeps the focus there', () => {
    add('Buy milk', 'File taxes');
    assert.deepEqual(shown(), ['Buy milk', 'File taxes']);
    assert.equal(field('New to-do').value, '');
    assert.equal(window.document.activeElement, field('New to-do'));
    assert.equal(summary(), '2 to-dos left');
  });

  it('explains why a blank to-do is refused, until something is typed', () => {
    add('   ');
    assert.deepEqual(shown(), []);
    assert.match(alertText(), /Write something/);
    assert.equal(field('New to-do').getAttribute('aria-invalid'), 'true');

    type('B');
    assert.equal(alertText(), '');
    assert.equal(field('New to-do').hasAttribute('aria-invalid'), false);
  });

  it('shows markup as text', () => {
    add('<img src=x onerror=alert(1)>');
    assert.deepEqual(shown(), ['<img src=x onerror=alert(1)>']);
    assert.equal(root.querySelector('img'), null);
  });
});

describe('the rows', () => {
  it('labels each checkbox and delete button with its to-do', () => {
    add('Buy milk', 'File taxes');
    assert.equal(field('Buy milk').type, 'checkbox');
    assert.equal(button('Delete File taxes').type, 'button');
  });

  it('marks a to-do as done and back', () => {
    add('Buy milk');
    const row = root.querySelector('li');

    field('Buy milk').click();
    assert.equal(store.getState().todos[0].done, true);
    assert.ok(row.classList.contains('done'));
    assert.equal(summary(), 'All done');

    field('Buy milk').click();
    assert.equal(field('Buy milk').checked, false);
    assert.equal(summary(), '1 to-do left');
    assert.equal(root.querySelector('li'), row, 'the row was not rebuilt');
  });

  it('deletes a to-do and moves the focus to the row in its place', () => {
    add('Buy milk', 'File taxes', 'Water the plants');
    button('Delete File taxes').focus();
    button('Delete File taxes').click();
    assert.deepEqual(shown(), ['Buy milk', 'Water the plants']);
    assert.equal(window.document.activeElement, field('Water the plants'));
  });

  it('moves the focus to the new to-do field when the last row goes', () => {
    add('Buy milk');
    button('Delete Buy milk').focus();
    button('Delete Buy milk').click();
    assert.equal(window.document.activeElement, field('New to-do'));
  });
});

describe('filtering', () => {
  const pressed = () =>
    [...root.querySelectorAll('[aria-pressed="true"]')].map((each) => each.textContent);

  it('shows all, active or completed to-dos in their order', () => {
    add('Buy milk', 'File taxes', 'Water the plants');
    field('File taxes').click();

    button('Active').click();
    assert.deepEqual(shown(), ['Buy milk', 'Water the plants']);
    assert.deepEqual(pressed(), ['Active']);

    button('Completed').click();
    assert.deepEqual(shown(), ['File taxes']);
    assert.deepEqual(pressed(), ['Completed']);

    button('All').click();
    assert.deepEqual(shown(), ['Buy milk', 'File taxes', 'Water the plants']);
    assert.deepEqual(pressed(), ['All']);
  });

  it('takes a to-do out of the active ones as soon as it is done', () => {
    add('Buy milk');
    button('Active').click();
    field('Buy milk').click();
    assert.deepEqual(shown(), []);
    assert.equal(root.querySelector('.empty').hidden, false);
    assert.equal(root.querySelector('.empty').textContent, 'Everything is done.');
  });
});

describe('clearing completed to-dos', () => {
  it('is offered only when there is something to clear', () => {
    assert.equal(button('Clear completed').disabled, true);
    add('Buy milk', 'File taxes');
    assert.equal(button('Clear completed').disabled, true);

    field('Buy milk').click();
    assert.equal(button('Clear completed').disabled, false);

    button('Clear completed').click();
    assert.deepEqual(shown(), ['File taxes']);
    assert.equal(button('Clear completed').disabled, true);
  });
});

describe('the page', () => {
  it('shows the stored list again after it is mounted anew', () => {
    add('Buy milk', 'File taxes');
    field('Buy milk').click();
    unmount();
    assert.equal(root.children.length, 0);

    mountApp(root, createStore({ storage: window.localStorage }));
    assert.deepEqual(shown(), ['Buy milk', 'File taxes']);
    assert.equal(field('Buy milk').checked, true);
    assert.equal(field('File taxes').checked, false);
  });

  it('stops following the store once it is unmounted', () => {
    unmount();
    store.add('Buy milk');
    assert.equal(root.children.length, 0);
  });

  it('says so when the list cannot be stored', () => {
    assert.equal(root.querySelector('.notice').hidden, true);
    const forbid = () => {
      throw new Error('SecurityError');
    };
    mountApp(root, createStore({ storage: { getItem: forbid, setItem: forbid } }));
    assert.equal(root.querySelector('.notice').hidden, false);
  });

  it('sums the list up in words', () => {
    assert.equal(summaryText({ total: 0, active: 0 }), 'No to-dos');
    assert.equal(summaryText({ total: 3, active: 0 }), 'All done');
    assert.equal(summaryText({ total: 3, active: 1 }), '1 to-do left');
    assert.equal(summaryText({ total: 3, active: 2 }), '2 to-dos left');
  });
});
