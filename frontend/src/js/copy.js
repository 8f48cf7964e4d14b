// Buttons with data-copy put their text into the clipboard, and say so for a moment.

export function copyOnClick() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    event.preventDefault();
    const told = document.querySelector("#told");
    if (!navigator.clipboard) { // only pages over HTTPS or of this machine have one
      window.prompt("Copy this:", button.dataset.copy);
      return;
    }
    await navigator.clipboard.writeText(button.dataset.copy);
    if (told) told.textContent = "Copied";
    button.classList.add("is-done");
    setTimeout(() => {
      button.classList.remove("is-done");
      if (told) told.textContent = "";
    }, 1500);
  });
}
