"""Signing secrets as callers manage them: read the default, rotate, publish public keys.

It runs when a caller or an operator asks. During a rotation old and new secret sign side by side,
so receivers can change over without losing a webhook. Each act is one transaction.
"""

from uuid import UUID

from gateway.core.crypto.cipher import CannotOpenError
from gateway.core.webhooks.signing import SigningKey, format_secret, jwk
from gateway.errors import NotFound, SecretSealed
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deliver.endpoints import chosen_key, missing
from gateway.flows.deliver.signing_keys import algorithm_of, keep_key, key_of
from gateway.flows.deps import Deps, secret_place
from gateway.store.tenancy import tenants
from gateway.store.webhooks import endpoints
from gateway.store.webhooks.endpoints import EndpointSecret

# A webhook is signed with every live secret, and receivers read no more signatures than this.
MAX_LIVE = 5


async def default_secret(deps: Deps, tenant_id: UUID) -> str:
    """The secret that signs webhooks to the callback URLs of a tenant's jobs.

    Raises NotFound, SecretSealed.
    """
    async with deps.db.of(tenant_id) as tx:
        stored = await endpoints.secret(tx, tenant_id, None)
    if stored is None:
        raise NotFound("The tenant has no default signing secret.")
    try:
        raw = deps.cipher.open(stored.sealed, secret_place(tenant_id, stored.id))
    except CannotOpenError as error:
        deps.report_sealed(error)
        raise SecretSealed.of("the tenant's default signing secret") from None
    return format_secret(key_of(stored.algorithm, raw))


@retry_on_deadlock
async def rotate_secret(
    deps: Deps,
    tenant_id: UUID,
    endpoint_id: UUID | None,
    *,
    overlap: float,
    secret: str | None = None,
    algorithm: str | None = None,
) -> SigningKey:
    """Give an endpoint, or a tenant's callbacks, a new signing key: the given `secret` or a new one.

    The old keys sign as well for `overlap` seconds. To give the newest key again changes nothing.
    Raises NotFound, BadRequest.
    """
    async with deps.db.of(tenant_id) as tx:
        # One rotation at a time: two at once could leave more than MAX_LIVE secrets.
        if endpoint_id is None:
            await tenants.lock(tx, tenant_id)
        elif await endpoints.hold(tx, tenant_id, endpoint_id) is None:
            raise missing()
        before = await endpoints.secret(tx, tenant_id, endpoint_id)
        key = chosen_key(deps, algorithm or (before.algorithm if before else "v1"), secret)
        if before is not None and _is_kept(deps, tenant_id, before, key):
            return key
        await endpoints.retire_secrets(tx, tenant_id, endpoint_id, overlap=overlap, most=MAX_LIVE)
        await keep_key(tx, deps, tenant_id, endpoint_id, key)
        if endpoint_id is not None:
            await endpoints.set_algorithm(tx, endpoint_id, algorithm_of(key))
    return key


def _is_kept(deps: Deps, tenant_id: UUID, stored: EndpointSecret, key: SigningKey) -> bool:
    try:
        raw = deps.cipher.open(stored.sealed, secret_place(tenant_id, stored.id))
    except CannotOpenError:
        return False
    return (stored.algorithm, raw) == (algorithm_of(key), key)


async def public_keys(
    deps: Deps, endpoint_id: UUID | None = None, default_of: UUID | None = None
) -> list[dict[str, str]]:
    """The live public keys as JWKs: of one endpoint, or of a tenant's default secret."""
    async with deps.db.single() as tx:
        return [jwk(key) for key in await endpoints.public_keys(tx, endpoint_id, default_of)]
