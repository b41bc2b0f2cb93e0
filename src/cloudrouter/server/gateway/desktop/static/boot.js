"use strict";
/* Stands in the page itself. A file that did not arrive (Chromium drops what is under way when a network interface comes
 * or goes, and every machine that starts brings one) leaves the page dead: load it again, soon and not in a hurry. */
(() => {
  let again = 0;
  addEventListener("error", event => {
    const { target } = event;
    const needed = target instanceof HTMLScriptElement || (target instanceof HTMLLinkElement && target.rel === "stylesheet");
    if (needed && !again) again = setTimeout(() => location.reload(), 700);
  }, true);
})();
