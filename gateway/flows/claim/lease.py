"""Claim: take due rows for the length of a lease, under a lease token (a fencing token).

Every later write of a row repeats the token, so a process that lost its lease changes nothing. If the
connection is lost before the answer of a claim arrives, nobody knows which rows it took: a background
task releases them by their token. If that fails too, or the process crashes, their lease lapses.
"""

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
    """Open a transaction for a claim; if its connection is lost, release the claimed rows by token."""
    is_open = False
    try:
        async with opened as tx:
            is_open = True
            yield tx
    except Unavailable:
        if is_open:
            deps.slots.start(_VERBS[kind], _release(deps, kind, token))
        raise


async def _release(deps: Deps, kind: Kind, token: UUID) -> None:
    until = deps.clock.monotonic() + deps.policy.lease

    async def act() -> int:
        async with deps.db.single() as tx:
            return await lost_claims.give_back(tx, kind, token)

    # After `until` the lease has lapsed anyway.
    with suppress(Unavailable):
        if await retry_while_unavailable(deps.clock, until, act):
            deps.queue.wake(_VERBS[kind])
        deps.crash_point("claim.returned")
