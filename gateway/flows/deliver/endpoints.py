"""Administration of webhook endpoints: create, change, enable, disable, delete.

It runs when a tenant's key or an operator asks. URL and headers are checked before anything is
stored: an SSRF guard decides which addresses may be called. Each act is one transaction, so a crash
leaves an endpoint as it was before or as it is after.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from gateway.core.crypto.cipher import CannotOpenError
from gateway.core.events import EVENT_TYPES
from gateway.core.model import Endpoint
from gateway.core.webhooks import custom_headers
from gateway.core.webhooks.custom_headers import HIDDEN
from gateway.core.webhooks.signing import Ed25519Key, InvalidSecretError, SigningKey, parse_secret
from gateway.errors import BadRequest, Conflict, NotFound, SecretSealed
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deliver.endpoint_health import disable
from gateway.flows.deliver.signing_keys import (
    V1,
    V1A,
    keep_key,
    new_key,
    open_headers,
    seal_headers,
)
from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.webhooks import endpoints
from gateway.store.webhooks.endpoints import EndpointOptions

DISABLED = "disabled by hand"


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """An endpoint as its caller wants it; None for `headers` keeps the present ones."""

    url: str
    description: str = ""
    events: Sequence[str] = ()
    headers: Mapping[str, str] | None = None
    schedule: Sequence[int] | None = None
    concurrency: int | None = None
    rate_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Enabled:
    """An endpoint that was enabled, and how many parked deliveries can be replayed to it."""

    endpoint: Endpoint
    parked: int


@retry_on_deadlock
async def create_endpoint(
    deps: Deps,
    tenant_id: UUID,
    wanted: EndpointSpec,
    *,
    algorithm: str = V1,
    secret: str | None = None,
    most: int | None = None,
) -> tuple[Endpoint, SigningKey]:
    """Create an endpoint with a signing key, the given `secret` or a new one.

    Raises BadRequest, and Conflict if the tenant has `most` endpoints; None is the gateway's cap.
    """
    most = deps.policy.max_endpoints if most is None else most
    await _check(deps, wanted)
    key = chosen_key(deps, algorithm, secret)
    endpoint_id = deps.ids.uuid()
    options = _options(deps, tenant_id, endpoint_id, wanted, ())
    async with deps.db.of(tenant_id) as tx:
        endpoint = await endpoints.add(tx, endpoint_id, tenant_id, algorithm, options, most=most)
        if endpoint is None:
            raise Conflict(
                f"The tenant has {most} endpoints, as many as it may have. Delete one first, or have"
                " an operator raise its limit maxEndpoints."
            )
        await keep_key(tx, deps, tenant_id, endpoint_id, key)
    return endpoint, key


@retry_on_deadlock
async def change_endpoint(
    deps: Deps,
    tenant_id: UUID,
    endpoint_id: UUID,
    changes: Mapping[str, object],
    headers: Mapping[str, str | None] | None = None,
) -> Endpoint:
    """Change fields of an endpoint, by the names of EndpointSpec; `headers` are merged.

    Raises NotFound, BadRequest, and SecretSealed if no master key opens the present headers.
    """
    given = replace(EndpointSpec(""), **changes)
    # It may look up a host name, so it comes before any lock.
    await _check(deps, given, url_too="url" in changes)
    async with deps.db.of(tenant_id) as tx:
        before = await endpoints.hold(tx, tenant_id, endpoint_id)
        if before is None:
            raise missing()
        wanted = replace(_spec_of(before), **changes)
        if headers is not None:
            wanted = replace(wanted, headers=await _merged_headers(tx, deps, before, headers))
        options = _options(deps, tenant_id, endpoint_id, wanted, before.header_names)
        after = await endpoints.change(
            tx, tenant_id, endpoint_id, options, headers_too=wanted.headers is not None
        )
    deps.queue.wake("deliver")  # a wider limit may let more go at once
    return after or before


@retry_on_deadlock
async def enable_endpoint(deps: Deps, tenant_id: UUID, endpoint_id: UUID) -> Enabled:
    """Deliver to an endpoint again, from now on. Raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        endpoint = await endpoints.enable(tx, tenant_id, endpoint_id)
        if endpoint is None:
            raise missing()
        parked = await endpoints.parked(tx, tenant_id, endpoint_id)
    return Enabled(endpoint, parked)


@retry_on_deadlock
async def disable_endpoint(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID, reason: str = DISABLED
) -> Endpoint:
    """Deliver nothing more to an endpoint; its open deliveries are parked. Raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        before = await endpoints.hold(tx, tenant_id, endpoint_id)
        if before is None:
            raise missing()
        await disable(tx, deps, endpoint_id, reason)
        return await endpoints.find(tx, tenant_id, endpoint_id) or before


@retry_on_deadlock
async def delete_endpoint(deps: Deps, tenant_id: UUID, endpoint_id: UUID) -> None:
    """Delete an endpoint; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        found = await endpoints.delete(tx, tenant_id, endpoint_id)
    if not found:
        raise missing()


async def list_endpoints(
    deps: Deps, tenant_id: UUID, after: UUID | None, limit: int
) -> list[Endpoint]:
    """Endpoints of a tenant, oldest first: those made after this one."""
    async with deps.db.of(tenant_id) as tx:
        return await endpoints.page(tx, tenant_id, after=after, limit=limit)


async def find_endpoint(deps: Deps, tenant_id: UUID, endpoint_id: UUID) -> Endpoint:
    """An endpoint of a tenant; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        endpoint = await endpoints.find(tx, tenant_id, endpoint_id)
    if endpoint is None:
        raise missing()
    return endpoint


async def find_endpoint_owner(
    deps: Deps, endpoint_id: UUID, allowed: Collection[UUID] | None
) -> UUID:
    """The tenant that owns an endpoint, if it is one of those allowed (None: all); raises NotFound."""
    async with deps.db.single() as tx:
        tenant_id = await endpoints.owner(tx, endpoint_id)
    if tenant_id is None or (allowed is not None and tenant_id not in allowed):
        raise missing()
    return tenant_id


async def check_callback(deps: Deps, field: str, url: str) -> None:
    """Refuse a URL that the SSRF guard does not allow; raises BadRequest that names the field."""
    refusal = await deps.sender.refusal(url)
    if refusal is not None:
        raise BadRequest.of(field, refusal)


def missing() -> NotFound:
    """The error for an endpoint that does not exist."""
    return NotFound("There is no such endpoint.")


def chosen_key(deps: Deps, algorithm: str, secret: str | None) -> SigningKey:
    """The key that the caller gave, or a new one. Raises BadRequest."""
    if secret is None:
        return new_key(deps, algorithm)
    try:
        key = parse_secret(secret)
    except InvalidSecretError as invalid:
        raise BadRequest.of("secret", str(invalid)) from None
    if isinstance(key, Ed25519Key) != (algorithm == V1A):
        raise BadRequest.of(
            "secret", "v1 is signed with a 'whsec_' secret, and v1a with a 'whsk_' one"
        )
    return key


async def _check(deps: Deps, wanted: EndpointSpec, *, url_too: bool = True) -> None:
    unknown = sorted(set(wanted.events) - set(EVENT_TYPES))
    if unknown:
        raise BadRequest.of("events", f"'{unknown[0]}' is not one of {', '.join(EVENT_TYPES)}")
    refusal = custom_headers.check(wanted.headers or {})
    if refusal is not None:
        raise BadRequest.of("headers", refusal)
    if url_too:
        await check_callback(deps, "url", wanted.url)


async def _merged_headers(
    tx: Tx, deps: Deps, endpoint: Endpoint, patch: Mapping[str, str | None]
) -> dict[str, str]:
    sealed = await endpoints.sealed_headers(tx, endpoint.id)
    try:
        known = open_headers(deps, endpoint.tenant_id, endpoint.id, sealed)
    except CannotOpenError:
        raise SecretSealed.of("the headers of this endpoint") from None
    merged = custom_headers.merged(known, endpoint.header_names, patch)
    for name, value in merged.items():
        if value == HIDDEN:
            reason = f"{HIDDEN} is what values are shown as, and there is no such header to keep"
            raise BadRequest.of(f"headers.{name}", reason)
    refusal = custom_headers.check(merged)
    if refusal is not None:
        raise BadRequest.of("headers", refusal)
    return merged


def _spec_of(endpoint: Endpoint) -> EndpointSpec:
    return EndpointSpec(
        endpoint.url,
        endpoint.description,
        endpoint.events,
        None,
        endpoint.delays,
        endpoint.concurrency,
        endpoint.rate_limit,
    )


def _options(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID, wanted: EndpointSpec, names: Sequence[str]
) -> EndpointOptions:
    headers = wanted.headers
    return EndpointOptions(
        wanted.url,
        wanted.description,
        list(dict.fromkeys(wanted.events)),
        sorted(names if headers is None else headers),
        None if headers is None else seal_headers(deps, tenant_id, endpoint_id, headers),
        None if wanted.schedule is None else list(wanted.schedule),
        wanted.concurrency,
        wanted.rate_limit,
    )
