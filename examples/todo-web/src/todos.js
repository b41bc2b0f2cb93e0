/**
 * The rules of the list as pure functions: each takes a list of to-dos and
 * returns a new list, or the very same one when nothing changed.
 *
 * @typedef {{ id: string, title: string, done: boolean }} Todo
 * @typedef {'all' | 'active' | 'completed'} Filter
 */

export const MAX_TITLE_LENGTH = 200;

/** @type {readonly Filter[]} */
export const FILTERS = ['all', 'active', 'completed'];

/** Trims a title and squeezes runs of white space into single spaces. */
export function cleanTitle(raw) {
  return String(raw ?? '').trim().replace(/\s+/g, ' ');
}

/** Says what is wrong with a title, or returns null when it can be used. */
export function titleProblem(raw) {
  const title = cleanTitle(raw);
  if (title === '') return 'Write something to do first.';
  if (title.length > MAX_TITLE_LENGTH) {
    return `Keep it to ${MAX_TITLE_LENGTH} characters or fewer.`;
  }
  return null;
}

/** @returns {Todo[]} */
export function addTodo(todos, id, rawTitle) {
  if (titleProblem(rawTitle) !== null) return todos;
  return [...todos, { id, title: cleanTitle(rawTitle), done: false }];
}

/** @returns {Todo[]} */
export function toggleTodo(todos, id) {
  if (!todos.some((todo) => todo.id === id)) return todos;
  return todos.map((todo) => (todo.id === id ? { ...todo, done: !todo.done } : todo));
}

/** @returns {Todo[]} */
export function deleteTodo(todos, id) {
  const rest = todos.filter((todo) => todo.id !== id);
  return rest.length === todos.length ? todos : rest;
}

/** @returns {Todo[]} */
export function clearCompleted(todos) {
  const rest = todos.filter((todo) => !todo.done);
  return rest.length === todos.length ? todos : rest;
}

/** @returns {Todo[]} */
export function filterTodos(todos, filter) {
  if (filter === 'active') return todos.filter((todo) => !todo.done);
  if (filter === 'completed') return todos.filter((todo) => todo.done);
  return todos;
}

export function countTodos(todos) {
  const completed = todos.filter((todo) => todo.done).length;
  return { total: todos.length, active: todos.length - completed, completed };
}

/** Text kept in storage. The version number lets a later release read it. */
export function serializeTodos(todos) {
  return JSON.stringify({ version: 1, todos });
}

/**
 * Reads stored text back. Anything that is not a usable to-do is dropped, so a
 * damaged entry never stops the page from starting.
 *
 * @returns {Todo[]}
 */
export function parseTodos(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    return [];
  }
  if (data?.version !== 1 || !Array.isArray(data.todos)) return [];

  const seen = new Set();
  const todos = [];
  for (const entry of data.todos) {
    if (typeof entry?.id !== 'string' || seen.has(entry.id)) continue;
    if (typeof entry.title !== 'string' || titleProblem(entry.title) !== null) continue;
    seen.add(entry.id);
    todos.push({ id: entry.id, title: cleanTitle(entry.title), done: entry.done === true });
  }
  return todos;
}
