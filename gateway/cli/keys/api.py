"""Access keys through the operators' API."""

from collections.abc import Sequence
from urllib.parse import quote

from gateway.cli.api.client import Api, ApiAccess
from gateway.cli.keys.ports import Shown, WantedKey
from gateway.core.model import KeyKind

_KEYS = "/admin/v1/key"


class ApiKeys:
    """Manages keys with an operator's key."""

    def __init__(self, access: ApiAccess) -> None:
        self._access = access

    def create(self, wanted: WantedKey) -> Shown:
        """Create a key."""
        given = {
            "name": wanted.name,
            "scopes": wanted.scopes,
            "role": wanted.role,
            "expiresSeconds": wanted.expires_seconds,
        }
        body: dict[str, object] = {
            name: value for name, value in given.items() if value is not None
        }
        if wanted.kind is not KeyKind.TENANT:
            body["kind"] = wanted.kind.value
        if wanted.tenants is not None:
            body["tenants"] = wanted.tenants
        with Api(self._access) as api:
            return api.call("POST", _path(wanted.tenant), body)

    def list(self, tenant: str | None) -> Sequence[Shown]:
        """Return the keys of a tenant, or those without a tenant."""
        with Api(self._access) as api:
            return api.listed(_path(tenant))

    def rotate(self, key_id: str, overlap_seconds: float) -> Shown:
        """Create a key with the same rights; the old one is revoked after the overlap."""
        body = {"overlapSeconds": overlap_seconds}
        with Api(self._access) as api:
            return api.call("POST", f"{_KEYS}/{quote(key_id, safe='')}/rotate", body)

    def revoke(self, key_id: str) -> Shown:
        """Revoke a key at once."""
        with Api(self._access) as api:
            return api.call("DELETE", f"{_KEYS}/{quote(key_id, safe='')}")


def _path(tenant: str | None) -> str:
    return _KEYS if tenant is None else f"/admin/v1/tenant/{quote(tenant, safe='')}/key"
