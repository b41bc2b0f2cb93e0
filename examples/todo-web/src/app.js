import { FILTERS, MAX_TITLE_LENGTH, countTodos, filterTodos } from './todos.js';

const FILTER_LABELS = { all: 'All', active: 'Active', completed: 'Completed' };

const EMPTY_MESSAGES = {
  all: 'Nothing to do yet. Add your first to-do above.',
  active: 'Everything is done.',
  completed: 'Nothing completed yet.',
};

const PAGE = `
  <main class="card">
    <header>
      <h1>To-do</h1>
      <p class="summary" role="status"></p>
    </header>

    <form class="add" novalidate>
      <label for="new-todo">New to-do</label>
      <div class="add-row">
        <input id="new-todo" name="title" type="text" autocomplete="off"
          placeholder="What needs to be done?" maxlength="${MAX_TITLE_LENGTH}"
          aria-describedby="new-todo-error" />
        <button type="submit">Add</button>
      </div>
      <p id="new-todo-error" class="error" role="alert"></p>
    </form>

    <div class="filters" role="group" aria-label="Filter to-dos"></div>

    <ul class="list" aria-label="To-dos"></ul>
    <p class="empty"></p>

    <footer>
      <p class="notice">This browser does not let the page store your list: it will be gone when you close this tab.</p>
      <button type="button" class="clear">Clear completed</button>
    </footer>
  </main>
`;

/** The line under the heading, also read out by screen readers. */
export function summaryText({ total, active }) {
  if (total === 0) return 'No to-dos';
  if (active === 0) return 'All done';
  return `${active} ${active === 1 ? 'to-do' : 'to-dos'} left`;
}

/**
 * Draws the app into `root` and keeps it in step with the store. Returns a
 * function that takes it away again.
 */
export function mountApp(root, store) {
  const doc = root.ownerDocument;
  root.innerHTML = PAGE;

  const find = (selector) => root.querySelector(selector);
  const summary = find('.summary');
  const form = find('.add');
  const input = find('#new-todo');
  const error = find('.error');
  const filters = find('.filters');
  const list = find('.list');
  const empty = find('.empty');
  const notice = find('.notice');
  const clear = find('.clear');

  const filterButtons = new Map(
    FILTERS.map((filter) => {
      const button = doc.createElement('button');
      button.type = 'button';
      button.textContent = FILTER_LABELS[filter];
      button.addEventListener('click', () => store.setFilter(filter));
      filters.append(button);
      return [filter, button];
    }),
  );

  // Rows are kept between draws, so a checkbox does not lose the keyboard
  // focus because its own to-do changed.
  const rows = new Map();

  function createRow(todo) {
    const item = doc.createElement('li');
    const label = doc.createElement('label');
    const checkbox = doc.createElement('input');
    const title = doc.createElement('span');
    const remove = doc.createElement('button');

    checkbox.type = 'checkbox';
    checkbox.addEventListener('change', () => keepFocus(item, () => store.toggle(todo.id)));
    title.className = 'title';
    title.textContent = todo.title;
    label.append(checkbox, title);

    remove.type = 'button';
    remove.className = 'delete';
    remove.textContent = '×';
    remove.title = 'Delete';
    remove.setAttribute('aria-label', `Delete ${todo.title}`);
    remove.addEventListener('click', () => keepFocus(item, () => store.remove(todo.id)));

    item.append(label, remove);
    return { item, checkbox };
  }

  // When an action takes the focused row away, the focus goes to the row that
  // moves up into its place, else to the one before, else to the input.
  function keepFocus(item, action) {
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    const hadFocus = item.contains(doc.activeElement);
    action();
    if (hadFocus && !item.isConnected) {
      (neighbour?.querySelector('input') ?? input).focus();
    }
  }

  function draw({ todos, filter, saved }) {
    const counts = countTodos(todos);
    const visible = filterTodos(todos, filter);
    const visibleIds = new Set(visible.map((todo) => todo.id));

    for (const [id, row] of rows) {
      if (visibleIds.has(id)) continue;
      row.item.remove();
      rows.delete(id);
    }

    visible.forEach((todo, index) => {
      if (!rows.has(todo.id)) rows.set(todo.id, createRow(todo));
      const { item, checkbox } = rows.get(todo.id);
      checkbox.checked = todo.done;
      item.classList.toggle('done', todo.done);
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    });

    for (const [name, button] of filterButtons) {
      button.setAttribute('aria-pressed', String(name === filter));
    }

    const text = summaryText(counts);
    if (summary.textContent !== text) summary.textContent = text;

    list.hidden = visible.length === 0;
    empty.hidden = visible.length > 0;
    empty.textContent = EMPTY_MESSAGES[counts.total === 0 ? 'all' : filter];
    notice.hidden = saved;
    clear.disabled = counts.completed === 0;
  }

  function showError(message) {
    error.textContent = message ?? '';
    if (message) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const problem = store.add(input.value);
    showError(problem);
    if (problem === null) input.value = '';
    input.focus();
  });

  input.addEventListener('input', () => showError(null));

  clear.addEventListener('click', () => {
    store.clearCompleted();
    input.focus(); // The button has just been disabled.
  });

  const unsubscribe = store.subscribe(draw);
  draw(store.getState());

  return () => {
    unsubscribe();
    root.replaceChildren();
  };
}
