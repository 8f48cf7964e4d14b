"""The URL that `gateway listen` forwards to, with short forms for this machine."""

import re
from urllib.parse import urlsplit

import click

_PORT_FIRST = re.compile(r":?(\d+)(/.*)?")


def target_url(text: str) -> str:
    """Return the URL for `3000`, `:3000/hook`, `localhost:3000/hook` or a full URL.

    Raises click.UsageError.
    """
    match = _PORT_FIRST.fullmatch(text)
    url = f"localhost:{match[1]}{match[2] or ''}" if match else text
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or any(character.isspace() for character in url):
        raise click.UsageError(f"{text!r} is not a URL such as http://localhost:3000/hook.")
    return url
