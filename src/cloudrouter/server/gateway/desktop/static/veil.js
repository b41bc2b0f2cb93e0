/* What lies over the desktop while it is not there, and the banner's words about it. */
import { offerCopy } from "./copying.js";

const { machine, name, viewOnly } = document.body.dataset;
const part = id => document.getElementById(id);
const title = part("veil-title");
const text = part("veil-text");
const command = part("veil-command");
const again = part("veil-again");
const last = part("last");
let countdown = 0;

const ENDS = {
  signed_out: () => ["This view has ended", "Its link was taken back, or its time is over. A new link lets you in again.",
    `cloudrouter vnc ${machine}${viewOnly === "true" ? " --view-only" : ""}`, "Signed out"],
  gone: () => [`${name} is gone`, "The machine was deleted, and everything in it with it.", "cloudrouter ls", "Gone"],
  refused: () => ["This page was refused", "The router takes it for another page. Open the desktop anew.",
    `cloudrouter vnc ${machine}`, "Refused"],
  failed: reason => ["The desktop could not be opened", reason, `cloudrouter apps ${machine}`, "Failed"],
};

export function begin(connection) {
  offerCopy(command.querySelector("button"));
  again.addEventListener("click", () => connection.open());
  connection.addEventListener("link", event => show(event.detail));
  connection.addEventListener("picture", event => keep(event.detail));
}

function show({ link, again: before, became, reason, until }) {
  clearInterval(countdown);
  document.body.dataset.link = link;
  document.body.toggleAttribute("data-again", before);
  if (link === "connected") {
    last.hidden = true;
    say("Connected");
  } else if (link === "ended") {
    const [heading, words, line, short] = ENDS[became](reason);
    say(short, heading, words, line, became === "failed" ? "Try again" : "");
  } else if (became === "not_running") {
    say("Not running", `${name} is not running`, "Once it runs again, its desktop comes back by itself.", `cloudrouter resume ${machine}`);
  } else if (link === "waiting") {
    wait(became, reason, until);
  } else if (before) {
    say("Reconnecting", "Reconnecting", "The last picture stays until the desktop is back.");
  } else {
    say("Connecting", "Opening the desktop", "It starts when somebody looks; this takes about two seconds.");
  }
}

function wait(became, reason, until) {
  const words = became === "away" ? "The router does not answer." : reason || "The connection was lost.";
  const count = () => {
    const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    text.textContent = until && seconds > 1 ? `${words} Trying again in ${seconds} s.` : words;
  };
  say("Reconnecting", "Reconnecting", words, "", until ? "Try now" : "");
  if (until) countdown = setInterval(count, 250);
  count();
}

function say(short, heading = "", words = "", line = "", button = "") {
  part("state-text").textContent = short;
  if (heading) title.textContent = heading;
  text.textContent = words;
  command.hidden = !line;
  command.querySelector("code").textContent = line;
  again.hidden = !button;
  again.textContent = button;
}

/* The last picture, behind the veil. */
function keep(picture) {
  last.width = picture.width;
  last.height = picture.height;
  last.getContext("2d").putImageData(picture, 0, 0);
  last.hidden = false;
}
