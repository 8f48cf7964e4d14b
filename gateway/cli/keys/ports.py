"""The interface of `gateway key` to the database and to the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.model import KeyKind
from gateway.core.roles import Role

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """A key to create; None means all scopes, all tenants, and no expiry."""

    kind: KeyKind
    name: str
    tenant: str | None
    tenants: list[str] | None
    scopes: list[str] | None
    role: Role | None
    expires_seconds: float | None


class Keys(Protocol):
    """Returns keys as the API shows them; a new one has its text as `accessKey`."""

    def create(self, wanted: WantedKey) -> Shown:
        """Create a key."""
        ...

    def list(self, tenant: str | None) -> Sequence[Shown]:
        """Return the keys of a tenant, or those without a tenant."""
        ...

    def rotate(self, key_id: str, overlap_seconds: float) -> Shown:
        """Create a key with the same rights; the old one is revoked after the overlap."""
        ...

    def revoke(self, key_id: str) -> Shown:
        """Revoke a key at once."""
        ...
