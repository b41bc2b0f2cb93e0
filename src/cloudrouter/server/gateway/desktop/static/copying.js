/* Buttons that copy the command before them. */

export function offerCopy(button) {
  const code = button.previousElementSibling;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.classList.add("done");
      button.setAttribute("aria-label", "Copied");
    } catch {
      getSelection().selectAllChildren(code);
    }
  });
}
