import * as rules from './todos.js';

export const STORAGE_KEY = 'todo-web';

// crypto.randomUUID() exists only on https pages and localhost; random values
// are there on every page.
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Holds the list and the chosen filter, writes the list to `storage` after
 * every change, and tells its subscribers.
 *
 * @param {{ storage: Pick<Storage, 'getItem' | 'setItem'>, newId?: () => string }} options
 */
export function createStore({ storage, newId = randomId }) {
  const listeners = new Set();

  function read() {
    try {
      return { ok: true, todos: rules.parseTodos(storage.getItem(STORAGE_KEY)) };
    } catch {
      return { ok: false, todos: [] }; // The browser forbids storage here.
    }
  }

  function write(todos) {
    try {
      storage.setItem(STORAGE_KEY, rules.serializeTodos(todos));
      return true;
    } catch {
      return false; // Full or forbidden: the list goes on in memory.
    }
  }

  const first = read();
  let state = { todos: first.todos, filter: 'all', saved: first.ok };

  function publish(next) {
    state = next;
    for (const listener of listeners) listener(state);
  }

  function change(todos) {
    if (todos === state.todos) return;
    publish({ ...state, todos, saved: write(todos) });
  }

  return {
    getState: () => state,

    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    /** Adds a to-do. Returns null, or the reason why it was not added. */
    add(title) {
      const problem = rules.titleProblem(title);
      if (problem === null) change(rules.addTodo(state.todos, newId(), title));
      return problem;
    },

    toggle: (id) => change(rules.toggleTodo(state.todos, id)),
    remove: (id) => change(rules.deleteTodo(state.todos, id)),
    clearCompleted: () => change(rules.clearCompleted(state.todos)),

    setFilter(filter) {
      if (!rules.FILTERS.includes(filter) || filter === state.filter) return;
      publish({ ...state, filter });
    },

    /** Takes over what another tab has stored. */
    reload() {
      const { ok, todos } = read();
      if (ok) publish({ ...state, todos, saved: true });
    },
  };
}
