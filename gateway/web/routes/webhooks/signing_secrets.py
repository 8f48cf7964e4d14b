"""Signing secrets: read and rotate them; and the public keys."""

from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.core.model import Scope, Tenant
from gateway.core.webhooks.signing import parse_secret
from gateway.errors import BadRequest
from gateway.flows.deliver.signing_secrets import default_secret, public_keys, rotate_secret
from gateway.flows.deps import Deps
from gateway.web.auth import guard_public
from gateway.web.context import Injected
from gateway.web.schemas.webhook_requests import KeysQuery, SecretRotationIn
from gateway.web.schemas.webhook_responses import JWKS_PATH, Jwks, SecretOut, shown_key

_WRITE = {"scope": Scope.ENDPOINTS_WRITE}
_CACHED = {"Cache-Control": "public, max-age=300"}


@get(
    "/endpoint/default-secret",
    opt=_WRITE,
    operation_id="getDefaultSecret",
    summary="Read the default signing secret",
)
async def get_default_secret(tenant: Injected[Tenant], deps: Injected[Deps]) -> SecretOut:
    """It signs webhooks to the callback URLs of jobs."""
    key = parse_secret(await default_secret(deps, tenant.id))
    return SecretOut(**shown_key(key, tenant.id, None))


@post(
    "/endpoint/default-secret/rotate",
    opt=_WRITE,
    status_code=200,
    operation_id="rotateDefaultSecret",
    summary="Rotate the default signing secret",
)
async def rotate_default_secret(
    payload: Injected[SecretRotationIn], tenant: Injected[Tenant], deps: Injected[Deps]
) -> SecretOut:
    """Previous secrets sign too until the overlap is over; at most five secrets sign at the same time."""
    return await _rotated(deps, tenant, None, payload)


@post(
    "/endpoint/{endpoint_id:uuid}/rotate-secret",
    opt=_WRITE,
    status_code=200,
    operation_id="rotateEndpointSecret",
    summary="Rotate the signing secret of an endpoint",
)
async def rotate_endpoint_secret(
    endpoint_id: FromPath[UUID],
    payload: Injected[SecretRotationIn],
    tenant: Injected[Tenant],
    deps: Injected[Deps],
) -> SecretOut:
    """Previous secrets sign too until the overlap is over; at most five secrets sign at the same time."""
    return await _rotated(deps, tenant, endpoint_id, payload)


@get(
    [JWKS_PATH, f"/v1{JWKS_PATH}", f"/api{JWKS_PATH}"],
    guards=[guard_public],
    operation_id="listPublicKeys",
    summary="List the public keys that check v1a signatures",
)
async def list_public_keys(parameters: Injected[KeysQuery], deps: Injected[Deps]) -> Response[Jwks]:
    """Needs no access key. Name an `endpoint`, or a `tenant` for the keys of its default secret."""
    if not parameters.endpoint and not parameters.tenant:
        raise BadRequest.of("endpoint", "is required, or `tenant`")
    if parameters.endpoint and parameters.tenant:
        raise BadRequest.of("tenant", "cannot be combined with `endpoint`")
    return Response(
        Jwks(await public_keys(deps, parameters.endpoint, parameters.tenant)), headers=_CACHED
    )


async def _rotated(
    deps: Deps, tenant: Tenant, endpoint_id: UUID | None, payload: SecretRotationIn
) -> SecretOut:
    key = await rotate_secret(
        deps,
        tenant.id,
        endpoint_id,
        overlap=payload.overlap_seconds,
        secret=payload.secret,
        algorithm=payload.algorithm,
    )
    return SecretOut(**shown_key(key, tenant.id, endpoint_id))


HANDLERS: list[Any] = [get_default_secret, rotate_default_secret, rotate_endpoint_secret]
OPEN_HANDLERS: list[Any] = [list_public_keys]
