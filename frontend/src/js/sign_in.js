// What the pages to sign in need: the form of a link is sent at once, and plain HTTP is told.

export function helpToSignIn() {
  document.querySelector("form[data-send-at-once]")?.requestSubmit();
  const notice = document.querySelector("[data-insecure]");
  if (notice) notice.hidden = window.isSecureContext;
}
