/* A line that says what has happened, and goes by itself. */

const place = document.getElementById("toast");
const SHOWN_MS = 2500;
let timer = 0;

export function toast(words) {
  clearTimeout(timer);
  place.textContent = words;
  timer = setTimeout(() => { place.textContent = ""; }, SHOWN_MS);
}
