// Parts of a page with data-live ask for themselves again, while somebody looks at them.

const SECONDS = 5;

function isBusy(element) {
  return element.querySelector("details.menu[open], :popover-open, dialog[open]") !== null || element.contains(document.activeElement);
}

export function refreshLive() {
  setInterval(() => {
    if (document.visibilityState !== "visible") return;
    for (const element of document.querySelectorAll("[data-live]")) {
      if (!isBusy(element)) element.dispatchEvent(new CustomEvent("live"));
    }
  }, SECONDS * 1000);
}
