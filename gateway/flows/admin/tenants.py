"""Administration of tenants and of their upstream credentials.

It runs when an operator asks, by API or CLI. Each act and its audit entry are one transaction, and
other processes drop what they cached of the tenant after it. A deletion works in batches: a crash
leaves the tenant suspended, and a second deletion goes on.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from uuid import UUID

from gateway.core.crypto.cipher import NONCE_BYTES, Secret
from gateway.core.model import Credential, Limits, Tenant
from gateway.errors import BadRequest, Conflict, NotFound
from gateway.flows.admin import audit
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deliver.signing_keys import V1, keep_key, new_key
from gateway.flows.deps import Deps, credential_place
from gateway.flows.upstream.credential_access import open_access
from gateway.flows.upstream.passthrough import unavailable
from gateway.ports import Access, Denied, Sealed
from gateway.store.database import Tx
from gateway.store.tenancy import tenants
from gateway.store.tenancy.tenants import CredentialInUse
from gateway.store.work import circuit_breaker

_LIMIT_NAMES = {
    "max_queued": "maxQueued",
    "max_in_flight": "maxInFlight",
    "max_rate": "maxRate",
    "max_endpoints": "maxEndpoints",
    "keep_payloads": "keepPayloadsDays",
    "keep_jobs": "keepJobsDays",
    "keep_attempts": "keepAttemptsDays",
    "keep_events": "keepEventsDays",
}


@dataclass(frozen=True, slots=True)
class TenantUpdate:
    """Changes of a tenant; None leaves a field as it is.

    `metadata` makes the new text from the present one.
    `limits` are by the names of Limits; None restores the gateway's default.
    """

    name: str | None = None
    metadata: Callable[[str], str] | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])
    send_traceparent: Sequence[str] | None = None


@retry_on_deadlock
async def create_tenant(
    deps: Deps,
    actor: str,
    *,
    slug: str,
    name: str,
    metadata: str,
    limits: Limits,
    send_traceparent: Sequence[str] = (),
) -> Tenant:
    """Create a tenant with a default signing secret; raises Conflict if the slug is taken."""
    tenant_id = deps.ids.uuid()
    async with deps.db.begin() as tx:
        tenant = await tenants.add(
            tx,
            tenant_id,
            slug=slug,
            name=name,
            metadata=metadata,
            limits=limits,
            send_traceparent=send_traceparent,
        )
        if tenant is None:
            raise Conflict(f"slug: there is a tenant '{slug}' already")
        await keep_key(tx, deps, tenant_id, None, new_key(deps, V1))
        detail: dict[str, object] = {"name": name, "limits": _limits(limits)}
        if send_traceparent:
            detail["sendTraceparent"] = list(send_traceparent)
        await audit.note(tx, deps, actor, "tenant.created", slug, tenant_id=tenant_id, **detail)
    deps.queue.announce(f"tenant:{slug}")
    return tenant


async def get_tenant(deps: Deps, slug: str) -> Tenant:
    """Find a tenant; raises NotFound."""
    async with deps.db.single() as tx:
        return await _find(tx, slug)


async def list_tenants(
    deps: Deps, after: str | None, limit: int, *, text: str = ""
) -> list[Tenant]:
    """Tenants with `text` in slug or name, in the order of their slugs: those after this one."""
    async with deps.db.single() as tx:
        return await tenants.page(tx, after, limit, text=text)


async def tenant_ids(deps: Deps, slugs: Sequence[str]) -> list[UUID]:
    """The ids of the tenants that exist among these slugs."""
    async with deps.db.single() as tx:
        return list((await tenants.ids_of(tx, slugs)).values())


async def tenant_slugs(deps: Deps, tenant_ids: Collection[UUID]) -> dict[UUID, str]:
    """The slugs of those of these tenants that exist, as a list of rows of several tenants names them."""
    if not tenant_ids:
        return {}
    async with deps.db.single() as tx:
        return await tenants.slugs_of(tx, tenant_ids)


async def list_credentials(deps: Deps, slug: str) -> list[CredentialInUse]:
    """The versions of a tenant's credential, the newest first; raises NotFound."""
    async with deps.db.single() as tx:
        return await tenants.credentials(tx, (await _find(tx, slug)).id)


@retry_on_deadlock
async def change_tenant(deps: Deps, actor: str, slug: str, change: TenantUpdate) -> Tenant:
    """Change the given fields of a tenant. Raises NotFound, BadRequest.

    The row is locked meanwhile, so two changes at once never undo each other. If nothing changes,
    the audit has no entry.
    """
    async with deps.db.begin() as tx:
        await tenants.lock(tx, (await _find(tx, slug)).id)
        before = await _find(tx, slug)
        after = await tenants.change(
            tx,
            before.id,
            name=before.name if change.name is None else change.name,
            metadata=before.metadata
            if change.metadata is None
            else change.metadata(before.metadata),
            limits=replace(before.limits, **change.limits),
            send_traceparent=before.send_traceparent
            if change.send_traceparent is None
            else change.send_traceparent,
        )
        after = after or before
        if changed := audit.changes(_audited(before), _audited(after)):
            await audit.note(
                tx, deps, actor, "tenant.changed", slug, tenant_id=before.id, changes=changed
            )
    deps.queue.announce(f"tenant:{slug}")
    return after


@retry_on_deadlock
async def suspend_tenant(
    deps: Deps, actor: str, slug: str, *, suspended: bool, reason: str = ""
) -> Tenant:
    """Refuse a tenant's requests and hold its waiting jobs, or resume it. Raises NotFound.

    The reason is kept in the audit log.
    """
    async with deps.db.begin() as tx:
        before = await _find(tx, slug)
        after = await tenants.suspend(tx, before.id, suspended=suspended)
        action = "tenant.suspended" if suspended else "tenant.resumed"
        detail = {"reason": reason} if reason else {}
        await audit.note(tx, deps, actor, action, slug, tenant_id=before.id, **detail)
    deps.queue.announce(f"tenant:{slug}")
    if not suspended:
        deps.queue.wake("submit")
    return after or before


async def delete_tenant(deps: Deps, actor: str, slug: str) -> None:
    """Erase a tenant and all its data. Its usage is kept without its name. Raises NotFound.

    The tenant is suspended first, then its many rows go in batches, then the tenant itself.
    """
    tenant = await suspend_tenant(deps, actor, slug, suspended=True)
    while await _erase_some(deps, tenant.id):
        pass
    await _erase(deps, actor, tenant)
    deps.queue.announce("*")


@retry_on_deadlock
async def _erase_some(deps: Deps, tenant_id: UUID) -> bool:
    async with deps.db.begin() as tx:
        return await tenants.erase_some(tx, tenant_id, deps.policy.erase_batch)


@retry_on_deadlock
async def _erase(deps: Deps, actor: str, tenant: Tenant) -> None:
    async with deps.db.begin() as tx:
        await tenants.lock(tx, tenant.id)
        await tenants.erase(tx, tenant.id)
        await audit.note(tx, deps, actor, "tenant.deleted", tenant.slug, name=tenant.name)


async def put_credential(
    deps: Deps, actor: str, slug: str, *, api_key: Secret, base_url: str | None
) -> list[CredentialInUse]:
    """Give a tenant a new credential, after the upstream has accepted it.

    Jobs at the upstream are polled with the credential that submitted them. To put the same key
    again only clears a rejection. Raises NotFound, BadRequest, UpstreamUnavailable.
    """
    tenant = await get_tenant(deps, slug)
    credential_id = deps.ids.uuid()
    access = Access(credential_id, base_url or deps.upstream_url, api_key)
    await _check(deps, access)
    versions = await _keep_credential(deps, actor, tenant, access)
    deps.queue.announce(f"tenant:{slug}")
    deps.queue.wake("submit")
    deps.queue.wake("poll")
    return versions


@retry_on_deadlock
async def _keep_credential(
    deps: Deps, actor: str, tenant: Tenant, access: Access
) -> list[CredentialInUse]:
    async with deps.db.begin() as tx:
        await tenants.lock(tx, tenant.id)
        current = await tenants.credential(tx, tenant.id)
        if current is not None and _is_same(deps, current, access):
            await circuit_breaker.well(
                tx, current.id, submits=0, room=deps.policy.submit_concurrency
            )
        else:
            version = 1 if current is None else current.version + 1
            await _add(tx, deps, tenant.id, version, access)
            await circuit_breaker.reconsider(tx, tenant.id)
        versions = await tenants.credentials(tx, tenant.id)
        detail = {"version": versions[0].version, "baseUrl": versions[0].base_url}
        await audit.note(
            tx, deps, actor, "credential.put", tenant.slug, tenant_id=tenant.id, **detail
        )
    return versions


async def _find(tx: Tx, slug: str) -> Tenant:
    tenant = await tenants.by_slug(tx, slug)
    if tenant is None:
        raise NotFound(f"There is no tenant '{slug}'.")
    return tenant


def _audited(tenant: Tenant) -> dict[str, object]:
    """The fields of a tenant that the audit compares, by the names of the API."""
    limits = {f"limits.{name}": value for name, value in _limits(tenant.limits).items()}
    metadata = {f"metadata.{key}": value for key, value in json.loads(tenant.metadata).items()}
    sent = {"sendTraceparent": list(tenant.send_traceparent)}
    return {"name": tenant.name, **sent, **limits, **metadata}


def _limits(limits: Limits) -> dict[str, int]:
    """The limits that are set, by the names of the API."""
    return {
        _LIMIT_NAMES[name]: value for name, value in asdict(limits).items() if value is not None
    }


async def _check(deps: Deps, access: Access) -> None:
    answer = await deps.catalogue.application(access)
    if isinstance(answer, Denied):
        raise BadRequest.of("apiKey", f"the upstream refused it with status {answer.status}")
    if not isinstance(answer, str):
        raise unavailable(answer)


def _is_same(deps: Deps, current: Credential, access: Access) -> bool:
    known = open_access(deps, current)
    return not isinstance(known, Sealed) and (known.base_url, known.key) == (
        access.base_url,
        access.key,
    )


async def _add(tx: Tx, deps: Deps, tenant_id: UUID, version: int, access: Access) -> None:
    place = credential_place(tenant_id, access.credential_id, version)
    sealed = deps.cipher.seal(access.key.value.encode(), place, deps.ids.random_bytes(NONCE_BYTES))
    await tenants.add_credential(
        tx,
        access.credential_id,
        tenant_id,
        version=version,
        base_url=access.base_url,
        sealed=sealed,
    )
