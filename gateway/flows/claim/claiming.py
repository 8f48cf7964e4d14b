"""Claiming: take work for the length of a lease, and give it back if nobody knows what was taken."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from uuid import UUID

from gateway.errors import Unavailable
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deps import Deps
from gateway.ports import Verb
from gateway.store.database import Tx
from gateway.store.work import lost_claims
from gateway.store.work.lost_claims import Kind

_VERBS: dict[Kind, Verb] = {
    "submit": "submit",
    "doubt": "submit",
    "poll": "poll",
    "deliver": "deliver",
}


@asynccontextmanager
async def claiming(
    deps: Deps, kind: Kind, token: UUID, opened: AbstractAsyncContextManager[Tx]
) -> AsyncGenerator[Tx]:
    """A connection to claim on; what the claim of a lost one took does not wait for its lease."""
    is_open = False
    try:
        async with opened as tx:
            is_open = True
            yield tx
    except Unavailable:
        if is_open:
            deps.slots.start(_VERBS[kind], _give_back(deps, kind, token))
        raise


async def _give_back(deps: Deps, kind: Kind, token: UUID) -> None:
    until = deps.clock.monotonic() + deps.policy.lease

    async def act() -> int:
        async with deps.db.single() as tx:
            return await lost_claims.give_back(tx, kind, token)

    # After that the lease is over.
    with suppress(Unavailable):
        if await retry_while_unavailable(deps.clock, until, act):
            deps.queue.wake(_VERBS[kind])
        deps.crash_point("claim.returned")
