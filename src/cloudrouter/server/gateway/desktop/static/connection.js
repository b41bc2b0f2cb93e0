/* One desktop, connected again whenever the connection is lost; tells what happens as "link" events. */
import RFB from "./novnc/core/rfb.js";

const NO_USE = 4001; /* the router: trying again changes nothing by itself */
const REFUSED = 1008;
const PAUSES_MS = [300, 1000, 2000, 4000, 8000, 10000];
const ASLEEP_MS = 3000;
const STEADY_MS = 5000; /* whoever was connected this long begins again with the shortest pause */

export class Connection extends EventTarget {
  #screen;
  #viewOnly;
  #tried = 0;
  #timer = 0;
  #since = 0;
  #link = "";
  rfb = null; /* of the connection that works now */

  constructor(screen, viewOnly) {
    super();
    this.#screen = screen;
    this.#viewOnly = viewOnly;
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  /* Connect now, also when everything seemed over. */
  open() {
    clearTimeout(this.#timer);
    if (this.#link === "connecting" || this.#link === "connected") return;
    this.#tell("connecting");
    const address = new URL("/websock", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, ["binary"]);
    let goodbye = null;
    socket.addEventListener("close", event => { goodbye = event; }); /* before noVNC's own */
    const rfb = new RFB(this.#screen, socket, { shared: true });
    rfb.viewOnly = this.#viewOnly;
    rfb.background = "transparent";
    rfb.qualityLevel = 8; /* of 9: gradients without bands */
    rfb.addEventListener("connect", () => this.#connected(rfb));
    rfb.addEventListener("disconnect", () => this.#over(rfb, goodbye));
    rfb.addEventListener("clipboard", event => this.#event("clipboard", event.detail.text));
    rfb.addEventListener("credentialsrequired", () => {
      goodbye = { code: NO_USE, reason: "It asks for a password of its own, which this page has no way to give." };
      rfb.disconnect();
    });
  }

  #connected(rfb) {
    this.rfb = rfb;
    this.#since = performance.now();
    this.#event("rfb", rfb);
    this.#tell("connected");
  }

  async #over(rfb, goodbye) {
    if (this.rfb === rfb) {
      this.#event("picture", rfb.getImageData());
      if (performance.now() - this.#since > STEADY_MS) this.#tried = 0;
    }
    this.rfb = null;
    this.#tell("waiting", { reason: goodbye?.reason });
    const became = await whatBecame();
    if (this.#link !== "waiting") return; /* somebody pressed "Try now" meanwhile */
    const reason = goodbye?.reason ?? "";
    if (became === "signed_out" || became === "gone" || became === "refused") return this.#tell("ended", { became, reason });
    if (became === "there" && (goodbye?.code === NO_USE || goodbye?.code === REFUSED)) {
      return this.#tell("ended", { became: "failed", reason });
    }
    this.#wait(became, reason);
  }

  #wait(became, reason) {
    const asleep = became === "not_running";
    const pause = asleep ? ASLEEP_MS : PAUSES_MS[Math.min(this.#tried++, PAUSES_MS.length - 1)];
    this.#tell("waiting", { became, reason, until: Date.now() + pause });
    this.#timer = setTimeout(() => this.open(), pause * (0.9 + 0.2 * Math.random()));
  }

  #hurry() {
    if (this.#link === "waiting") this.open();
  }

  #tell(link, more = {}) {
    this.#link = link;
    this.#event("link", { link, again: this.#since > 0, ...more });
  }

  #event(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/* Why the connection may have ended: a WebSocket is told no reason when it is refused. */
async function whatBecame() {
  try {
    const answer = await fetch("/_cloudrouter/state", { cache: "no-store", headers: { accept: "application/json" } });
    if (answer.ok) return "there";
    return (await answer.json()).error?.code ?? "away";
  } catch {
    return "away";
  }
}
