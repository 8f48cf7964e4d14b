"""Administration of webhook endpoints and their signing secrets."""

from collections.abc import Sequence
from uuid import UUID

from gateway.core.cipher import NONCE_BYTES
from gateway.core.events import EVENT_TYPES
from gateway.core.model import Endpoint
from gateway.core.signing import InvalidSecretError, format_secret, parse_secret
from gateway.errors import BadRequest, NotFound
from gateway.flows.deps import Deps, secret_place
from gateway.store import endpoints
from gateway.store.engine import Tx

_SECRET_BYTES = 32


async def create_endpoint(
    deps: Deps,
    tenant_id: UUID,
    *,
    url: str,
    description: str,
    events: Sequence[str],
    secret: str | None,
) -> tuple[Endpoint, str]:
    """Create an endpoint with its signing secret, given or made. Raises BadRequest."""
    unknown = sorted(set(events) - set(EVENT_TYPES))
    if unknown:
        raise BadRequest.of("events", f"'{unknown[0]}' is not one of {', '.join(EVENT_TYPES)}")
    await check_callback(deps, "url", url)
    endpoint_id = deps.ids.uuid()
    async with deps.db.begin() as tx:
        endpoint = await endpoints.add(
            tx,
            endpoint_id,
            tenant_id,
            url=url,
            description=description,
            events=list(dict.fromkeys(events)),
        )
        text = await add_secret(tx, deps, tenant_id, endpoint_id, secret)
    return endpoint, text


async def delete_endpoint(deps: Deps, tenant_id: UUID, endpoint_id: UUID) -> None:
    """Delete an endpoint; raises NotFound."""
    async with deps.db.begin() as tx:
        found = await endpoints.delete(tx, tenant_id, endpoint_id)
    if not found:
        raise NotFound("There is no such endpoint.")


async def default_secret(deps: Deps, tenant_id: UUID) -> str:
    """The secret that signs what goes to the callback URLs of a tenant's jobs."""
    async with deps.db.single() as tx:
        stored = await endpoints.secret(tx, tenant_id, None)
    if stored is None:
        raise NotFound("The tenant has no default signing secret.")
    secret_id, sealed = stored
    return format_secret(deps.cipher.open(sealed, secret_place(tenant_id, secret_id)))


async def check_callback(deps: Deps, field: str, url: str) -> None:
    """Refuse a URL that webhooks must not go to; raises BadRequest naming the field."""
    refusal = await deps.sender.refusal(url)
    if refusal is not None:
        raise BadRequest.of(field, refusal)


async def add_secret(
    tx: Tx, deps: Deps, tenant_id: UUID, endpoint_id: UUID | None, secret: str | None
) -> str:
    """Store a signing secret, given or made, and return its text. Raises BadRequest."""
    try:
        raw = parse_secret(secret) if secret else deps.ids.random_bytes(_SECRET_BYTES)
    except InvalidSecretError as invalid:
        raise BadRequest.of("secret", str(invalid)) from None
    secret_id = deps.ids.uuid()
    nonce = deps.ids.random_bytes(NONCE_BYTES)
    sealed = deps.cipher.seal(raw, secret_place(tenant_id, secret_id), nonce)
    await endpoints.add_secret(tx, secret_id, tenant_id, endpoint_id, sealed)
    return format_secret(raw)
