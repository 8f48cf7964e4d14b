"""Responses about endpoints, their secrets and bulk operations."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from gateway.core.model import Endpoint
from gateway.core.webhooks.custom_headers import HIDDEN
from gateway.core.webhooks.signing import Ed25519Key, SigningKey, format_secret, public_key
from gateway.flows.bulk import jobs
from gateway.flows.bulk.deliveries import KINDS
from gateway.store.work.bulk_operations import Operation
from gateway.web.schemas.responses import (
    Address,
    Id,
    Out,
    Time,
    maybe_id,
    maybe_stamp,
    one_of,
    stamp,
)
from gateway.web.schemas.webhook_requests import EventName

JWKS_PATH = "/.well-known/jwks.json"

EventText = Annotated[str, Meta(extra_json_schema=one_of(EventName))]
AlgorithmText = Annotated[str, Meta(extra_json_schema={"enum": ["v1", "v1a"]})]
KindText = Annotated[str, Meta(extra_json_schema={"enum": sorted(KINDS | jobs.KINDS)})]
StateText = Annotated[str, Meta(extra_json_schema={"enum": ["running", "done", "stopped"]})]


class EndpointOut(Out, kw_only=True):
    """An endpoint for webhooks. No events means all; null means the gateway's default."""

    id: Id
    url: Address
    events: tuple[EventText, ...]
    description: str
    algorithm: AlgorithmText
    headers: dict[str, Literal["[hidden]"]]
    rate_limit: int | None
    concurrency: int | None
    schedule: tuple[int, ...] | None
    disabled: bool
    disabled_reason: str | None
    failing_since: Time | None
    failures: int
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, endpoint: Endpoint, **more: Any) -> Self:  # noqa: ANN401 - fields of a subclass
        """The response for an endpoint."""
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
    """A new endpoint, with its secret (v1) or its public key and the URL of that (v1a)."""

    secret: str | UnsetType = UNSET
    public_key: str | UnsetType = UNSET
    jwks_url: str | UnsetType = UNSET


class EndpointEnabled(EndpointOut, kw_only=True):
    """An endpoint that was enabled, and how many deliveries are parked for it, up to 10,000."""

    parked_deliveries: int


class SecretOut(Out):
    """A signing secret (v1), or the public key and its URL (v1a)."""

    secret: str | UnsetType = UNSET
    public_key: str | UnsetType = UNSET
    jwks_url: str | UnsetType = UNSET


def shown_key(key: SigningKey, tenant_id: UUID, endpoint_id: UUID | None) -> dict[str, str]:
    """What a tenant may see of its signing key, which is never a private key.

    The key is the default secret if there is no endpoint.
    """
    if not isinstance(key, Ed25519Key):
        return {"secret": format_secret(key)}
    query = f"endpoint={endpoint_id}" if endpoint_id else f"tenant={tenant_id}"
    return {"public_key": public_key(key), "jwks_url": f"{JWKS_PATH}?{query}"}


class Jwks(Out):
    """The public keys that check v1a signatures, as JWKs of RFC 8037."""

    keys: list[dict[str, str]]


class BulkOut(Out):
    """A bulk operation on deliveries or jobs: how many there are, and how many are done."""

    id: Id
    kind: KindText
    endpoint_id: Id | None
    state: StateText
    total: int
    done: int
    created_at: Time
    completed_at: Time | None

    @classmethod
    def of(cls, operation: Operation) -> Self:
        """The response for an operation."""
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
    """How many rows an operation would change; nothing was started."""

    dry_run: bool
    count: int


class DeliveriesDryRunOut(DryRunOut):
    """How many deliveries would be sent, by status; `disabled` ones are for a disabled endpoint."""

    statuses: dict[str, int]
    disabled: int
