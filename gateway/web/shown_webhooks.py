"""Endpoints, their secrets and bulk operations as callers are shown them."""

from typing import Any, Literal, Self
from uuid import UUID

from msgspec import UNSET, UnsetType

from gateway.core.model import Endpoint
from gateway.core.signing import Ed25519Key, SigningKey, format_secret, public_key
from gateway.store.bulk import Operation
from gateway.web.shown import Out, maybe_id, maybe_stamp, stamp

HIDDEN = "[hidden]"
JWKS_PATH = "/.well-known/jwks.json"


class EndpointOut(Out, kw_only=True):
    """A receiver of webhooks; no events means all of them, null is the gateway's default."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    algorithm: str
    headers: dict[str, Literal["[hidden]"]]
    rate_limit: int | None
    concurrency: int | None
    schedule: tuple[int, ...] | None
    disabled: bool
    disabled_reason: str | None
    failing_since: str | None
    failures: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, endpoint: Endpoint, **more: Any) -> Self:  # noqa: ANN401 - of a class below
        """Show an endpoint."""
        return cls(
            id=str(endpoint.id),
            url=endpoint.url,
            events=endpoint.events,
            description=endpoint.description,
            algorithm=endpoint.algorithm,
            headers=dict.fromkeys(endpoint.header_names, HIDDEN),
            rate_limit=endpoint.rate_limit,
            concurrency=endpoint.concurrency,
            schedule=endpoint.delays,
            disabled=endpoint.disabled_at is not None,
            disabled_reason=endpoint.disabled_reason,
            failing_since=maybe_stamp(endpoint.failing_since),
            failures=endpoint.failures,
            created_at=stamp(endpoint.created_at),
            updated_at=stamp(endpoint.updated_at),
            **more,
        )


class EndpointMade(EndpointOut, kw_only=True):
    """A new receiver, with its secret (v1) or its public key and where to find it (v1a)."""

    secret: str | UnsetType = UNSET
    public_key: str | UnsetType = UNSET
    jwks_url: str | UnsetType = UNSET


class EndpointEnabled(EndpointOut, kw_only=True):
    """A receiver that is delivered to again, and how much was parked for it, up to 10,000."""

    parked_deliveries: int


class SecretOut(Out):
    """A signing secret (v1), or the public key and where to find it (v1a)."""

    secret: str | UnsetType = UNSET
    public_key: str | UnsetType = UNSET
    jwks_url: str | UnsetType = UNSET


def shown_key(key: SigningKey, tenant_id: UUID, endpoint_id: UUID | None) -> dict[str, str]:
    """What its owner may see of a signing key, a private one never; without endpoint the default."""
    if not isinstance(key, Ed25519Key):
        return {"secret": format_secret(key)}
    query = f"endpoint={endpoint_id}" if endpoint_id else f"tenant={tenant_id}"
    return {"public_key": public_key(key), "jwks_url": f"{JWKS_PATH}?{query}"}


class Jwks(Out):
    """The public keys that check v1a signatures, as JWKs of RFC 8037."""

    keys: list[dict[str, str]]


class BulkOut(Out):
    """Work on many deliveries or jobs: how many there are, and how many are dealt with."""

    id: str
    kind: str
    endpoint_id: str | None
    state: str
    total: int
    done: int
    created_at: str
    completed_at: str | None

    @classmethod
    def of(cls, operation: Operation) -> Self:
        """Show an operation."""
        return cls(
            str(operation.id),
            operation.kind,
            maybe_id(operation.endpoint_id),
            operation.state,
            operation.total,
            operation.done,
            stamp(operation.created_at),
            maybe_stamp(operation.completed_at),
        )


class DryRunOut(Out):
    """How much an operation would deal with; nothing was begun."""

    dry_run: bool
    count: int


class DeliveriesDryRunOut(DryRunOut):
    """How many deliveries would be sent, by status; `disabled` wait for a disabled endpoint."""

    statuses: dict[str, int]
    disabled: int
