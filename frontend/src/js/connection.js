// When the API is away the page stays, says since when, and goes on by itself.

let away = null;

function show(isAway) {
  const notice = document.querySelector("#away");
  if (!notice || isAway === (away !== null)) return;
  away = isAway ? new Date() : null;
  notice.hidden = !isAway;
  if (isAway) notice.textContent = `The gateway has not answered since ${away.toLocaleTimeString()}. This page tries again by itself.`;
}

export function stayWhileAway() {
  document.addEventListener("htmx:sendError", () => show(true));
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status >= 500) show(true);
  });
  document.addEventListener("htmx:afterOnLoad", () => show(false));
}
