"""Ends long requests within seconds after their key ends or their tenant is suspended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from gateway.errors import GatewayError, Unavailable
from gateway.flows.accept.authenticate import Authenticator
from gateway.flows.deps import Deps
from gateway.web.asgi.request_context import Caller
from gateway.web.auth import recheck

# No announcement comes when a key expires, and announcements may be lost.
_RECHECK_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Request:
    """One request under way; `refusal` is why it was ended."""

    caller: Caller
    task: asyncio.Task[object]
    refusal: GatewayError | None = None


class LongRequests:
    """The long requests of one process."""

    def __init__(self, deps: Deps, identities: Authenticator) -> None:
        self._deps = deps
        self._identities = identities
        self._requests: set[_Request] = set()
        self._watching: asyncio.Task[None] | None = None
        self._announced = asyncio.Event()

    def hear(self, subject: str) -> None:
        """Handle an announcement: keys or tenants may have changed."""
        if subject.partition(":")[0] in {"key", "tenant", "*"}:
            self._announced.set()

    @asynccontextmanager
    async def within(self, caller: Caller) -> AsyncGenerator[None]:
        """Cancel the block when the caller loses access.

        Raises the reason: Unauthorized, TenantSuspended, NotFound.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is answered in a task")
        request = _Request(caller, task)
        self._requests.add(request)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        try:
            yield
        except asyncio.CancelledError:
            if request.refusal is None or task.uncancel() > 0:
                raise
            raise request.refusal from None
        finally:
            self._requests.discard(request)

    async def _watch(self) -> None:
        while self._requests:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RECHECK_SECONDS):
                    await self._announced.wait()
            self._announced.clear()
            await self._check()

    async def _check(self) -> None:
        """Check each caller once for all of its requests."""
        refusals: dict[tuple[object, ...], GatewayError | None] = {}
        for one in list(self._requests):
            tenant = one.caller.tenant
            key = (one.caller.key.key_id, tenant and tenant.id)
            if key not in refusals:
                refusals[key] = await self._refusal(one)
            if (refusal := refusals[key]) is not None and one in self._requests:
                self._requests.discard(one)
                one.refusal = refusal
                one.task.cancel()

    async def _refusal(self, one: _Request) -> GatewayError | None:
        try:
            await recheck(self._identities, one.caller)
        except Unavailable:
            return None  # checked again in a moment
        except GatewayError as refusal:
            return refusal
        return None
