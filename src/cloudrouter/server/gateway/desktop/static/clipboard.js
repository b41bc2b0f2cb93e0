/* One clipboard for the person and the machine, as far as the browser lets a page have it.
 *
 * Towards the machine: pasting (Ctrl+V) hands the text over first, without any permission. Where reading the clipboard
 * is allowed, it is also handed over whenever the desktop gets the focus. Towards the person: what is copied in the
 * machine is written to the person's clipboard; a browser that refuses is told of, and the panel has the text.
 */
import { pressInsert, pressPaste, type } from "./keys.js";
import { toast } from "./toast.js";

const part = id => document.getElementById(id);
const field = part("clipboard-text");
const news = part("clipboard-news");
const badge = document.querySelector("#clipboard-tool .news");
const MAC = /^(Mac|iP)/.test(navigator.platform);
const PASTE_EVENT_MS = 120;

export class Clipboard {
  #connection;
  #viewOnly;
  #known = null; /* what both sides have: it need not be sent again */
  #mayRead = false;
  #chosen = false; /* the machine's clipboard holds what the person wants, whatever the browser's holds */

  constructor(connection, screen, viewOnly) {
    this.#connection = connection;
    this.#viewOnly = viewOnly;
    connection.addEventListener("clipboard", event => this.#received(event.detail));
    part("clipboard-take").addEventListener("click", () => this.#take());
    if (viewOnly) {
      for (const id of ["clipboard-send", "clipboard-type"]) part(id).hidden = true;
      field.readOnly = true;
      field.placeholder = "What is copied in the machine shows up here.";
      this.#explain();
      return;
    }
    part("clipboard-send").addEventListener("click", () => this.#send(field.value));
    part("clipboard-type").addEventListener("click", () => this.#type());
    part("clipboard-allow").addEventListener("click", () => this.#allow());
    connection.addEventListener("rfb", () => { this.#known = null; this.#look(); });
    addEventListener("focus", () => this.#look());
    addEventListener("blur", () => { this.#chosen = false; }); /* who was elsewhere may have copied there */
    screen.addEventListener("pointerenter", () => this.#look());
    addEventListener("keydown", event => this.#watchPaste(event), true);
    this.#watchPermission();
  }

  /* The panel was opened. */
  opened() {
    badge.hidden = true;
    news.textContent = "";
    if (!this.#viewOnly) field.focus();
  }

  /* The machine copied something. */
  async #received(text) {
    if (text === this.#known) return;
    this.#known = text;
    if (document.activeElement !== field || this.#viewOnly) field.value = text;
    if (this.#viewOnly || !text) return;
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied from the machine");
    } catch {
      this.#chosen = true;
      badge.hidden = false;
      toast("The machine copied something: it is in the clipboard panel");
    }
  }

  /* Paste in the machine what is pasted here: the browser tells the text in a paste event, if the key reaches it. */
  #watchPaste(event) {
    const rfb = this.#connection.rfb;
    const insert = event.code === "Insert" && event.shiftKey && !event.ctrlKey;
    const paste = event.code === "KeyV" && (MAC ? event.metaKey : event.ctrlKey) && !event.altKey;
    if (!rfb || !(insert || paste) || !event.target.closest?.("#screen")) return;
    event.stopImmediatePropagation(); /* noVNC would take it from the browser */
    const go = text => {
      document.removeEventListener("paste", onPaste, true);
      clearTimeout(timer);
      if (text && text !== this.#known && !this.#chosen) this.#hand(text);
      if (insert) pressInsert(rfb);
      else pressPaste(rfb, { mac: MAC, shift: event.shiftKey });
    };
    const onPaste = pasted => {
      pasted.preventDefault();
      pasted.stopImmediatePropagation();
      go(pasted.clipboardData?.getData("text/plain"));
    };
    document.addEventListener("paste", onPaste, true);
    const timer = setTimeout(() => go(""), PASTE_EVENT_MS);
  }

  /* Hand over the person's clipboard without being asked, where the browser has agreed. */
  async #look() {
    if (!this.#mayRead || this.#chosen || !document.hasFocus() || !this.#connection.rfb) return;
    try {
      const text = await navigator.clipboard.readText();
      if (text && text !== this.#known) this.#hand(text);
    } catch {
      this.#mayRead = false; /* taken back */
      this.#explain();
    }
  }

  #hand(text) {
    this.#known = text;
    field.value = text;
    this.#connection.rfb?.clipboardPasteFrom(text);
  }

  #send(text) {
    if (!this.#connection.rfb) return this.#say("The desktop is not connected.");
    this.#hand(text);
    this.#chosen = true;
    this.#say("The machine has it: paste it there.");
  }

  async #type() {
    const rfb = this.#connection.rfb;
    if (!rfb) return this.#say("The desktop is not connected.");
    this.#say((await type(rfb, field.value)) ? "Typed." : "Typed the first 20,000 characters.");
    rfb.focus({ preventScroll: true });
  }

  async #take() {
    try {
      await navigator.clipboard.writeText(field.value);
      this.#say("It is in your clipboard.");
    } catch {
      field.focus();
      field.select();
      this.#say(`The browser lets only you do that: press ${MAC ? "⌘" : "Ctrl"} + C.`);
    }
  }

  async #allow() {
    try {
      const text = await navigator.clipboard.readText();
      if (text) this.#hand(text);
      this.#say("The machine has your clipboard.");
    } catch {
      this.#say("The browser has refused. Pasting in the desktop works without it.");
    }
    this.#explain();
  }

  async #watchPermission() {
    try {
      const status = await navigator.permissions.query({ name: "clipboard-read" });
      const use = () => {
        this.#mayRead = status.state === "granted";
        part("clipboard-allow").hidden = status.state !== "prompt";
        this.#explain();
        this.#look();
      };
      status.addEventListener("change", use);
      use();
    } catch {
      this.#explain(); /* this browser asks the person each time, and knows no lasting permission */
    }
  }

  #explain() {
    const paste = `${MAC ? "⌘" : "Ctrl"} + V`;
    part("clipboard-words").textContent = this.#viewOnly
      ? "You see what is copied in the machine; this link sends nothing to it."
      : this.#mayRead
        ? "Shared by itself: copy on one side, paste on the other."
        : `Copying in the machine reaches your clipboard; ${paste} in the desktop brings yours there.`;
  }

  #say(words) {
    news.textContent = words;
  }
}
