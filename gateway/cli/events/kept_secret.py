"""The secret that `gateway listen` signs with: the same at each start, for one API and tenant."""

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
    """Where the secret for an API and a tenant is kept, under the user's folder for state."""
    home = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    name = hashlib.sha256(f"{root}\n{tenant}".encode()).hexdigest()[:_DIGITS]
    return folder / "job-gateway" / "listen" / name


def kept_secret(file: Path, *, new: bool) -> SigningKey:
    """The secret in a file, or a new one that is put there; without the file it lasts for this run."""
    if not new:
        try:
            return parse_secret(file.read_text().strip())
        except (OSError, ValueError, InvalidSecretError):
            pass  # there is none, or none of use
    key = HmacKey(os.urandom(MIN_SECRET_BYTES))
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, f"{format_secret(key)}\n")
    except OSError as error:
        say(f"The secret cannot be kept, so the next start has another one: {error}")
    return key
