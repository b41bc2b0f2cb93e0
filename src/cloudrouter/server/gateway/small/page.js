"use strict";
(() => {
  const offerCopy = button => {
    const code = button.previousElementSibling;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.classList.add("done");
        button.setAttribute("aria-label", "Copied");
      } catch {
        getSelection().selectAllChildren(code);
      }
    });
  };
  if (navigator.clipboard) document.querySelectorAll(".copy").forEach(offerCopy);

  const { kind, waits } = document.documentElement.dataset;
  if (waits === undefined) return;
  const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

  /* Whether the same thing is still in the way. The gateway holds this request while an app starts. */
  const stillInTheWay = async () => {
    const leaving = new AbortController();
    try {
      const answer = await fetch(location.href, {
        cache: "no-store", redirect: "manual", headers: { accept: "application/json" }, signal: leaving.signal,
      });
      if (answer.status < 500 || !/json/.test(answer.headers.get("content-type"))) return false;
      return (await answer.json()).error?.code === kind;
    } catch {
      return true; /* the router itself is away, or the answer was no JSON */
    } finally {
      leaving.abort();
    }
  };

  (async () => {
    /* Now and then the page is loaded anew in any case: it may have something new to say. Never in a hurry, though. */
    const reloaded = performance.getEntriesByType("navigation")[0]?.type === "reload";
    for (let asked = 0; asked < 30; asked++) {
      await pause(asked || reloaded ? 1000 : 250);
      while (document.hidden) await pause(500);
      if (!(await stillInTheWay())) break;
    }
    location.reload();
  })();
})();
