/* What opens below the tools: one panel at a time, closed by Escape or by a click elsewhere. */

const body = document.body;
const panels = new Map();

/* A tool and its panel; `opened` is called whenever it opens. */
export function addPanel(tool, panel, opened = () => {}) {
  panels.set(tool, { panel, opened });
  tool.addEventListener("click", () => (panel.hidden ? open(tool) : close(true)));
}

export function close(focusTool = false) {
  for (const [tool, { panel }] of panels) {
    if (panel.hidden) continue;
    panel.hidden = true;
    tool.setAttribute("aria-expanded", "false");
    if (focusTool) tool.focus();
  }
  delete body.dataset.panel;
}

function open(tool) {
  close();
  showTools(false);
  const { panel, opened } = panels.get(tool);
  panel.hidden = false;
  tool.setAttribute("aria-expanded", "true");
  body.dataset.panel = panel.id;
  opened();
}

const more = document.getElementById("more");

function showTools(shown) {
  if (shown) body.dataset.tools = "open";
  else delete body.dataset.tools;
  more.setAttribute("aria-expanded", String(shown));
}

more.addEventListener("click", () => {
  const shown = body.dataset.tools !== "open";
  close();
  showTools(shown);
});

addEventListener("keydown", event => {
  if (event.key !== "Escape" || !(body.dataset.panel || body.dataset.tools)) return;
  if (event.target.closest?.("#screen")) return; /* that Escape is the machine's */
  close(true);
  showTools(false);
});

addEventListener("pointerdown", event => {
  if (event.target.closest?.(".panel, #tools, #more")) return;
  close();
  showTools(false);
}, true);
