"""Identify: whose request this is. What is known is remembered for a few seconds per process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from gateway.core.access_keys import parse_key, same_digest
from gateway.core.model import AccessKey, Tenant
from gateway.errors import NotFound, Unauthorized
from gateway.flows.deps import Deps
from gateway.ports import Allowance
from gateway.store.database import Tx
from gateway.store.tenancy import access_keys, tenants

_FRESH_SECONDS = 5.0
_ENTRIES = 20_000
_USED_SECONDS = 60.0
# Compared with when a key is unknown, so that the time taken tells nothing.
_NO_DIGEST = bytes(32)
_NOBODY = UUID(int=0)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class TenantContext:
    """A tenant, and whether jobs can be submitted for it."""

    tenant: Tenant
    has_credential: bool


class Authenticator:
    """Access keys and tenants as one process knows them."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._keys = TtlCache[str, AccessKey | None](deps)
        self._tenants = TtlCache[str, TenantContext | None](deps)
        self._slugs = TtlCache[UUID, str | None](deps)
        self._used: dict[str, float] = {}

    async def identify(self, text: str) -> AccessKey:
        """The live key behind a presented text; raises Unauthorized."""
        parsed = parse_key(text)
        if parsed is None:
            raise Unauthorized("The access key is malformed. Check that it was copied whole.")
        key = await self._keys.get(parsed.key_id, self._find_key)
        known = same_digest(key.digest if key else _NO_DIGEST, parsed.digest)
        if key is None or not known:
            raise Unauthorized("The access key is not known.")
        self._refuse_ended(key)
        await self._note_use(key)
        return key

    async def live(self, key_id: str) -> None:
        """Raise Unauthorized where a key that was identified before has ended since."""
        key = await self._keys.get(key_id, self._find_key)
        if key is None:  # erased with its tenant
            raise Unauthorized("The access key is not known.")
        self._refuse_ended(key)

    async def tenant(self, slug: str) -> TenantContext:
        """A tenant by slug; raises NotFound."""
        context = await self._tenants.get(slug, self._find_tenant)
        if context is None:
            raise NotFound(f"There is no tenant '{slug}'.")
        return context

    async def tenant_by_id(self, tenant_id: UUID) -> TenantContext:
        """A tenant by id; raises NotFound."""
        slug = await self._slugs.get(tenant_id, self._find_slug)
        if slug is None:
            raise NotFound("The tenant of this access key does not exist any more.")
        return await self.tenant(slug)

    async def allowance(self, tenant: Tenant) -> Allowance | None:
        """Count a request of a tenant; None where its rate has no limit."""
        rate = tenant.limits.max_rate or self._deps.policy.max_rate
        return await self._deps.limiter.hit(str(tenant.id), rate) if rate else None

    def forget(self, subject: str) -> None:
        """Drop what is remembered of `key:<id>`, `tenant:<slug>`, or everything for `*`."""
        kind, _, name = subject.partition(":")
        if kind == "key":
            self._keys.drop(name)
        elif kind == "tenant":
            self._tenants.drop(name)
        elif kind == "*":
            for known in (self._keys, self._tenants, self._slugs):
                known.clear()

    def _refuse_ended(self, key: AccessKey) -> None:
        now = self._deps.clock.now()
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise Unauthorized("The access key is revoked or has expired.")

    async def _note_use(self, key: AccessKey) -> None:
        now = self._deps.clock.monotonic()
        if now - self._used.get(key.key_id, float("-inf")) < _USED_SECONDS:
            return
        self._used[key.key_id] = now
        async with self._deps.db.single() as tx:
            await access_keys.used(tx, [key.key_id])

    async def _find_key(self, tx: Tx, key_id: str) -> AccessKey | None:
        return await access_keys.find(tx, key_id)

    async def _find_tenant(self, tx: Tx, slug: str) -> TenantContext | None:
        # The same questions for all, so that the time taken tells nothing of who is there.
        tenant = await tenants.by_slug(tx, slug)
        credential = await tenants.credential(tx, tenant.id if tenant else _NOBODY)
        return tenant and TenantContext(tenant, credential is not None)

    async def _find_slug(self, tx: Tx, tenant_id: UUID) -> str | None:
        tenant = await tenants.by_id(tx, tenant_id)
        return tenant.slug if tenant else None


class TtlCache(Generic[K, V]):
    """Values from the database, remembered for a few seconds."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._known: dict[K, tuple[V, float]] = {}
        self._asking: dict[K, asyncio.Task[V]] = {}
        self._dropped = 0

    async def get(self, key: K, find: Callable[[Tx, K], Awaitable[V]]) -> V:
        """The remembered value, or a new one; those who ask at once share one question."""
        known = self._known.get(key)
        if known is not None and self._deps.clock.monotonic() - known[1] < _FRESH_SECONDS:
            return known[0]
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._ask(key, find))
            self._asking[key] = asking
        return await asyncio.shield(asking)

    async def _ask(self, key: K, find: Callable[[Tx, K], Awaitable[V]]) -> V:
        asked_at, dropped = self._deps.clock.monotonic(), self._dropped
        try:
            async with self._deps.db.single() as tx:
                value = await find(tx, key)
        finally:
            if self._asking.get(key) is asyncio.current_task():
                del self._asking[key]
        # An answer from before a change is given to those who asked, but not remembered.
        if dropped == self._dropped:
            if len(self._known) >= _ENTRIES:
                self._known.clear()
            self._known[key] = (value, asked_at)
        return value

    def drop(self, key: K) -> None:
        """Forget one value."""
        self._dropped += 1
        self._known.pop(key, None)
        self._asking.pop(key, None)

    def clear(self) -> None:
        """Forget all values."""
        self._dropped += 1
        self._known.clear()
        self._asking.clear()
