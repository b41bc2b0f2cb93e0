import { mountApp } from './app.js';
import { STORAGE_KEY, createStore } from './store.js';

// Reading `window.localStorage` itself throws where storage is forbidden, so it
// is looked up inside the calls that the store guards.
const storage = {
  getItem: (key) => window.localStorage.getItem(key),
  setItem: (key, value) => window.localStorage.setItem(key, value),
};

const root = document.querySelector('#app');
const store = createStore({ storage });
let unmount = mountApp(root, store);

// Another tab changed the list (a null key means that it cleared everything).
window.addEventListener('storage', (event) => {
  if (event.key === STORAGE_KEY || event.key === null) store.reload();
});

// While developing, a change to app.js is swapped in without a page load; the
// list and the filter stay as they are.
if (import.meta.hot) {
  import.meta.hot.accept('./app.js', (next) => {
    if (!next) return; // The new version has an error: keep the old one.
    unmount();
    unmount = next.mountApp(root, store);
  });
}
