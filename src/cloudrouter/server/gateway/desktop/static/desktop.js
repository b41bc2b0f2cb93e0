/* The page of a machine's desktop: puts its parts together. */
import { Clipboard } from "./clipboard.js";
import { Connection } from "./connection.js";
import * as keys from "./keys.js";
import { addPanel } from "./panels.js";
import * as size from "./size.js";
import * as veil from "./veil.js";

const part = id => document.getElementById(id);
const viewOnly = document.body.dataset.viewOnly === "true";

part("view-only").hidden = !viewOnly;
part("keys-tool").hidden = viewOnly;

const connection = new Connection(part("screen"), viewOnly);
veil.begin(connection);
size.begin(connection, viewOnly);
keys.begin(connection, part("keys"), viewOnly);
const clipboard = new Clipboard(connection, part("screen"), viewOnly);
addPanel(part("view-tool"), part("view-panel"));
addPanel(part("clipboard-tool"), part("clipboard-panel"), () => clipboard.opened());
addPanel(part("keys-tool"), part("keys-panel"));
keys.watchLeaving(connection, part("screen"), () => part("view-tool").focus());
connection.addEventListener("rfb", event => {
  if (document.activeElement === document.body) event.detail.focus({ preventScroll: true });
});
connection.open();
