// Keyboard: / searches, j and k walk the rows, Enter opens one, g and a letter goes to a screen, ? helps.

const ROWS = "tr[data-row]";

function isTyping(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

function walk(step) {
  const rows = [...document.querySelectorAll(ROWS)];
  const place = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[place < 0 ? (step > 0 ? 0 : rows.length - 1) : place + step];
  (next?.querySelector("a[data-open]") ?? next?.querySelector("a"))?.focus();
  next?.scrollIntoView({block: "nearest"});
}

export function listenToKeys() {
  let isGoing = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const link = isGoing && document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    isGoing = event.key === "g";
    if (link) return link.click();
    const actions = {
      "/": () => document.querySelector("#search")?.focus(),
      "?": () => document.querySelector("#keys")?.showModal(),
      j: () => walk(1),
      k: () => walk(-1),
    };
    if (Object.hasOwn(actions, event.key)) {
      event.preventDefault();
      actions[event.key]();
    }
  });
}
