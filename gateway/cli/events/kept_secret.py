"""The signing secret of `gateway listen`, kept in a file for each API and tenant."""

import hashlib
import os
from pathlib import Path

from gateway.cli.terminal.output import say
from gateway.core.webhooks.signing import (
    InvalidSecretError,
    SigningKey,
    format_secret,
    parse_secret,
)
from gateway.host.private_files import write_private
from gateway.webhooks import MIN_SECRET_BYTES, HmacKey

_DIGITS = 16


def secret_place(root: str, tenant: str) -> Path:
    """Return the file for the secret of an API and a tenant, in the user's state folder."""
    home = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    name = hashlib.sha256(f"{root}\n{tenant}".encode()).hexdigest()[:_DIGITS]
    return folder / "job-gateway" / "listen" / name


def kept_secret(file: Path, *, new: bool) -> SigningKey:
    """Return the secret in a file, or write a new one to it; if it cannot be written, it lasts for this run."""
    if not new:
        try:
            return parse_secret(file.read_text().strip())
        except (OSError, ValueError, InvalidSecretError):
            pass  # there is none, or it is damaged
    key = HmacKey(os.urandom(MIN_SECRET_BYTES))
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, f"{format_secret(key)}\n")
    except OSError as error:
        say(f"The secret cannot be saved, so the next start makes another one: {error}")
    return key
