// Relative times grow older while a page is open, and say the local time as well.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

// The same words as `ago` of gateway/console/show/words.py.
export function ago(seconds) {
  const away = Math.abs(seconds);
  const [size, unit] = UNITS.find(([least]) => away >= least) ?? [1, "s"];
  const text = `${Math.floor(away / size)} ${unit}`;
  if (away < 1) return "now";
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function update(root) {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[data-ago]")) {
    const at = new Date(element.dateTime);
    element.textContent = ago((now - at) / 1000);
    element.title = `${element.dateTime.replace("T", " ").replace("Z", "")} UTC\n${at.toLocaleString()} here`;
  }
}

export function followTimes() {
  update(document);
  setInterval(() => update(document), 10_000);
  document.addEventListener("htmx:afterSettle", (event) => update(event.target.parentElement ?? document));
}
