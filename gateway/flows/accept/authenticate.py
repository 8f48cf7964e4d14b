"""Authenticate an access key, and load its tenant, from a cache with a TTL of five seconds.

Runs for every request. A revocation is announced over Redis and drops the key from the cache of every
process (`forget`); without Redis it holds at the latest when the TTL ends. A presented key is compared
by digest in constant time, and an unknown key costs as much time as a known one. Nothing is stored
but the time of a key's last use, once a minute.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from gateway.core.crypto.access_keys import parse_key, same_digest
from gateway.core.model import AccessKey, Tenant
from gateway.errors import NotFound, Unauthorized
from gateway.flows.deps import Deps
from gateway.ports import Allowance
from gateway.store.database import Tx
from gateway.store.tenancy import access_keys, tenants

_TTL_SECONDS = 5.0
_MAX_ENTRIES = 20_000
_NOTE_USE_SECONDS = 60.0
# An unknown key is compared with this, so the time of the answer does not show that it is unknown.
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
    """The cached access keys and tenants of one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._keys = TtlCache[str, AccessKey | None](deps)
        self._tenants = TtlCache[str, TenantContext | None](deps)
        self._slugs = TtlCache[UUID, str | None](deps)
        self._used: dict[str, float] = {}

    async def identify(self, text: str) -> AccessKey:
        """The access key of a presented text; raises Unauthorized where it is unknown or has ended."""
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
        """Check again a key that was identified before; raises Unauthorized once it is revoked or expired."""
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
        """Drop `key:<id>` or `tenant:<slug>` from the cache, or everything for `*`."""
        kind, _, name = subject.partition(":")
        if kind == "key":
            self._keys.drop(name)
        elif kind == "tenant":
            self._tenants.drop(name)
        elif kind == "*":
            for cache in (self._keys, self._tenants, self._slugs):
                cache.clear()

    def _refuse_ended(self, key: AccessKey) -> None:
        now = self._deps.clock.now()
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise Unauthorized("The access key is revoked or has expired.")

    async def _note_use(self, key: AccessKey) -> None:
        now = self._deps.clock.monotonic()
        if now - self._used.get(key.key_id, float("-inf")) < _NOTE_USE_SECONDS:
            return
        self._used[key.key_id] = now
        async with self._deps.db.single() as tx:
            await access_keys.used(tx, [key.key_id])

    async def _find_key(self, tx: Tx, key_id: str) -> AccessKey | None:
        return await access_keys.find(tx, key_id)

    async def _find_tenant(self, tx: Tx, slug: str) -> TenantContext | None:
        # The same queries with and without a tenant, so the time does not show which slugs exist.
        tenant = await tenants.by_slug(tx, slug)
        credential = await tenants.credential(tx, tenant.id if tenant else _NOBODY)
        return tenant and TenantContext(tenant, credential is not None)

    async def _find_slug(self, tx: Tx, tenant_id: UUID) -> str | None:
        tenant = await tenants.by_id(tx, tenant_id)
        return tenant.slug if tenant else None


class TtlCache(Generic[K, V]):
    """A cache of rows with a TTL; concurrent misses of one key share one query."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._entries: dict[K, tuple[V, float]] = {}
        self._queries: dict[K, asyncio.Task[V]] = {}
        self._dropped = 0

    async def get(self, key: K, find: Callable[[Tx, K], Awaitable[V]]) -> V:
        """The cached value, or a new one; raises Unavailable."""
        entry = self._entries.get(key)
        if entry is not None and self._deps.clock.monotonic() - entry[1] < _TTL_SECONDS:
            return entry[0]
        query = self._queries.get(key)
        if query is None:
            query = asyncio.get_running_loop().create_task(self._query(key, find))
            self._queries[key] = query
        return await asyncio.shield(query)

    async def _query(self, key: K, find: Callable[[Tx, K], Awaitable[V]]) -> V:
        queried_at, dropped = self._deps.clock.monotonic(), self._dropped
        try:
            async with self._deps.db.single() as tx:
                value = await find(tx, key)
        finally:
            if self._queries.get(key) is asyncio.current_task():
                del self._queries[key]
        # A key was dropped during the query: its answer may be stale, so it is not cached.
        if dropped == self._dropped:
            if len(self._entries) >= _MAX_ENTRIES:
                self._entries.clear()
            self._entries[key] = (value, queried_at)
        return value

    def drop(self, key: K) -> None:
        """Drop one value."""
        self._dropped += 1
        self._entries.pop(key, None)
        self._queries.pop(key, None)

    def clear(self) -> None:
        """Drop all values."""
        self._dropped += 1
        self._entries.clear()
        self._queries.clear()
