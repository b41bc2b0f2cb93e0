/* How large the desktop is shown, and full screen. */

const KEPT = "cloudrouter-size";
const choices = [...document.querySelectorAll("input[name=size]")];
const full = document.getElementById("full-tool");
const root = document.documentElement;

export function begin(connection, viewOnly) {
  const match = choices.find(choice => choice.value === "match");
  if (viewOnly) {
    match.disabled = true;
    match.closest("label").setAttribute("aria-disabled", "true");
    match.closest("label").querySelector("small").textContent = "Not in a link that only shows";
  }
  const known = choices.find(choice => choice.value === recall() && !choice.disabled);
  if (known) known.checked = true;
  const apply = () => use(connection.rfb);
  connection.addEventListener("rfb", apply);
  for (const choice of choices) choice.addEventListener("change", () => { remember(choice.value); apply(); });
  use(null);
  beginFull();
}

function use(rfb) {
  const chosen = choices.find(choice => choice.checked).value;
  document.body.dataset.size = chosen;
  if (!rfb) return;
  rfb.scaleViewport = chosen !== "actual"; /* also where the machine cannot take the window's size */
  rfb.resizeSession = chosen === "match";
}

function recall() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; /* a browser that keeps nothing */
  }
}

function remember(value) {
  try {
    localStorage.setItem(KEPT, value);
  } catch {
    /* it is chosen again the next time */
  }
}

function beginFull() {
  full.hidden = !document.fullscreenEnabled;
  full.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()));
  document.addEventListener("fullscreenchange", () => {
    const on = document.fullscreenElement !== null;
    full.setAttribute("aria-pressed", String(on));
    full.title = on ? "Leave full screen" : "Full screen";
    full.querySelector("use").setAttribute("href", on ? "#icon-unfull" : "#icon-full");
    full.querySelector("span").textContent = full.title;
  });
}
