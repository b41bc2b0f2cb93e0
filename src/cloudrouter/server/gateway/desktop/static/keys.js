/* Keys that a browser or its system keeps for itself, and text typed key by key. */

const CONTROL = [0xffe3, "ControlLeft"];
const SHIFT = [0xffe1, "ShiftLeft"];
const ALT = [0xffe9, "AltLeft"];
const SUPER = [0xffeb, "MetaLeft"];
const TAB = [0xff09, "Tab"];
const DELETE = [0xffff, "Delete"];
const ESCAPE = [0xff1b, "Escape"];
const KEY_V = shift => [shift ? 0x56 : 0x76, "KeyV"];
const RETURN = 0xff0d;
const f = number => [0xffbd + number, `F${number}`];

const CHORDS = [
  ["Ctrl + Alt + Del", [CONTROL, ALT, DELETE], "two"],
  ["Esc", [ESCAPE]],
  ["Tab", [TAB]],
  ["Super", [SUPER]],
  ["Alt + Tab", [ALT, TAB]],
  ["Alt + F4", [ALT, f(4)]],
  ["F11", [f(11)]],
  ["Ctrl + W", [CONTROL, [0x77, "KeyW"]]],
  ["Ctrl + T", [CONTROL, [0x74, "KeyT"]]],
  ["Ctrl + N", [CONTROL, [0x6e, "KeyN"]]],
];
const MOST_TYPED = 20000;
const AT_ONCE = 40;

export function begin(connection, box, viewOnly) {
  for (const [label, chord, wide] of CHORDS) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.disabled = viewOnly;
    if (wide) button.className = wide;
    button.addEventListener("click", () => press(connection.rfb, chord));
    box.append(button);
  }
}

/* Down in this order, up in the other. */
export function press(rfb, chord) {
  if (!rfb) return;
  for (const [keysym, code] of chord) rfb.sendKey(keysym, code, true);
  for (const [keysym, code] of [...chord].reverse()) rfb.sendKey(keysym, code, false);
}

/* Paste as most programs know it; the modifiers that are held down already stay as they are. */
export function pressPaste(rfb, { mac, shift }) {
  if (mac) {
    rfb.sendKey(SUPER[0], SUPER[1], false);
    press(rfb, [CONTROL, KEY_V(shift)]);
  } else {
    press(rfb, [KEY_V(shift)]);
  }
}

export function pressInsert(rfb) {
  press(rfb, [[0xff63, "Insert"]]);
}

/* Ctrl + Alt + Shift: the way out for who has only a keyboard, as every other key belongs to the machine. */
export function watchLeaving(connection, screen, leave) {
  screen.addEventListener("keydown", event => {
    if (!(event.ctrlKey && event.altKey && event.shiftKey) || !["Control", "Alt", "Shift"].includes(event.key)) return;
    event.stopImmediatePropagation();
    for (const [keysym, code] of [CONTROL, ALT, SHIFT]) connection.rfb?.sendKey(keysym, code, false);
    leave();
  }, true);
}

/* Press the keys of a text, some at a time; true when all of it was sent. */
export async function type(rfb, text) {
  let sent = 0;
  for (const character of [...text.replace(/\r\n?/g, "\n")].slice(0, MOST_TYPED)) {
    const point = character.codePointAt(0);
    const keysym = character === "\n" ? RETURN : character === "\t" ? TAB[0] : point < 0x100 ? point : 0x01000000 | point;
    rfb.sendKey(keysym, null);
    if (++sent % AT_ONCE === 0) await new Promise(resolve => setTimeout(resolve, 10));
  }
  return [...text].length <= MOST_TYPED;
}

