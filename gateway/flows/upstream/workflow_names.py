"""Learn in the background which workflows tenants can run, so that metrics use only real names."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from gateway.errors import GatewayError
from gateway.flows.deps import Deps
from gateway.flows.upstream.passthrough import Workflows

_AGAIN_SECONDS = 300.0
_AT_ONCE = 5
_TENANTS = 10_000

Learn = Callable[[UUID, frozenset[str]], None]


class WorkflowNames:
    """Fetches a tenant's list at most every five minutes, and calls `learn` with its slugs."""

    def __init__(self, deps: Deps, learn: Learn) -> None:
        self._deps = deps
        self._learn = learn
        self._workflows = Workflows(deps)
        self._asked: dict[UUID, float] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    def ask(self, tenant_id: UUID) -> bool:
        """Start to fetch a tenant's list if it is due; True while it is being fetched. Never waits."""
        if tenant_id in self._tasks:
            return True
        now = self._deps.clock.monotonic()
        asked_at = self._asked.get(tenant_id)
        is_fresh = asked_at is not None and now - asked_at < _AGAIN_SECONDS
        if is_fresh or len(self._tasks) >= _AT_ONCE:
            return False
        self._asked[tenant_id] = now
        while len(self._asked) > _TENANTS:
            del self._asked[next(iter(self._asked))]
        task = self._tasks[tenant_id] = asyncio.create_task(self._find(tenant_id))
        task.add_done_callback(lambda _: self._tasks.pop(tenant_id))
        return True

    async def close(self) -> None:
        """Cancel what is being fetched."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, tenant_id: UUID) -> None:
        names: frozenset[str] = frozenset()
        with suppress(GatewayError):  # the next call of `ask` tries again
            names = await self._workflows.names(tenant_id)
        self._learn(tenant_id, names)
