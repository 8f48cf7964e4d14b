"""One attempt to sign in at an identity provider: what the browser that began it keeps, sealed, in a cookie."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from gateway.core.crypto.cipher import AssociatedData

# Where it is stored, for the cipher. It has no row: the browser has it.
PLACE = AssociatedData("sign_in", "", "")


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """Secrets that the provider's answer must fit, the page that was asked for, and the end of its time."""

    state: str
    nonce: str
    verifier: str  # of PKCE
    wanted: str
    expires_at: datetime

    def encoded(self) -> bytes:
        """As bytes, to be sealed."""
        values = {**asdict(self), "expires_at": self.expires_at.isoformat()}
        return json.dumps(values, separators=(",", ":")).encode()


def decoded(text: bytes) -> SignInAttempt:
    """The attempt of bytes that `encoded` made and nobody else could change."""
    values: dict[str, Any] = json.loads(text)
    expires_at = datetime.fromisoformat(values.pop("expires_at"))
    return SignInAttempt(**values, expires_at=expires_at)
