"""What `gateway key` needs of wherever the keys are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.model import KeyKind

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """A key to make; scopes and tenants of None are all, no expiry is for ever."""

    kind: KeyKind
    name: str
    tenant: str | None
    tenants: list[str] | None
    scopes: list[str] | None
    expires_seconds: float | None


class Keys(Protocol):
    """Keys as the API shows them; a new one with its text as `accessKey`."""

    def create(self, wanted: WantedKey) -> Shown:
        """Make a key."""
        ...

    def list(self, tenant: str | None) -> Sequence[Shown]:
        """Those of a tenant, or those of no tenant."""
        ...

    def rotate(self, key_id: str, overlap_seconds: float) -> Shown:
        """Make a key like another one, which ends after the overlap."""
        ...

    def revoke(self, key_id: str) -> Shown:
        """End a key at once."""
        ...
