// Relative times grow older while a page is open. Absolute ones are in UTC or by the browser's clock.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

// The same words as `ago` of gateway/console/show/words.py.
export function ago(seconds) {
  const away = Math.abs(seconds);
  const [size, unit] = UNITS.find(([least]) => away >= least) ?? [1, "s"];
  const text = `${Math.floor(away / size)} ${unit}`;
  if (away < 1) return "now";
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function pad(number, digits = 2) {
  return String(number).padStart(digits, "0");
}

// A time by the browser's clock, in the form of `absolute` of gateway/console/words.py, with its offset.
function local(at) {
  const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`;
  const ahead = -at.getTimezoneOffset();
  const away = Math.abs(ahead);
  return `${day} ${clock} ${ahead < 0 ? "-" : "+"}${pad(Math.floor(away / 60))}:${pad(away % 60)}`;
}

function utc(at) {
  return at.toISOString().replace("T", " ").replace("Z", " UTC");
}

// The time that was chosen in the account menu; pages come with UTC.
function chosen(at) {
  return document.documentElement.dataset.times === "local" ? local(at) : utc(at);
}

function other(at) {
  return document.documentElement.dataset.times === "local" ? utc(at) : `${local(at)} here`;
}

function update(root) {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[data-ago], time[data-at], time[data-clock]")) {
    const at = new Date(element.dateTime);
    if ("ago" in element.dataset) element.textContent = ago((now - at) / 1000);
    if ("at" in element.dataset) element.textContent = chosen(at);
    if ("clock" in element.dataset) element.textContent = chosen(at).slice(11, 23);
    element.title = `${chosen(at)}\n${other(at)}`;
  }
  for (const element of root.querySelectorAll("[data-since]")) {
    element.title = `since ${chosen(new Date(element.dataset.since))}`;
  }
}

export function followTimes() {
  update(document);
  setInterval(() => update(document), 10_000);
  document.addEventListener("htmx:afterSettle", (event) => update(event.target.parentElement ?? document));
}
