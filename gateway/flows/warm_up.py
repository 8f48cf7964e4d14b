"""Warm-up: run the engine's main statements once, with nothing to do, when a worker starts.

A connection parses a statement, and loads the catalogs of its tables, when it first runs it. That takes
longer than the work of a hundred jobs, and would delay the first burst. Nothing is written.
"""

from uuid import UUID

from gateway.core.policy import Policy
from gateway.core.schedule.polling import Pace
from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.usage import rollups
from gateway.store.webhooks import attempts, deliveries
from gateway.store.work import polls, settlement, submits

# As many connections as a burst uses at the same time.
_CONNECTIONS = 4
_NOBODY = UUID(int=0)


async def warm_up(deps: Deps) -> None:
    """Run the main statements with nothing to do; raises Unavailable when the database is away."""
    await deps.db.open_ahead(_CONNECTIONS, lambda tx: _run(tx, deps))


async def _run(tx: Tx, deps: Deps) -> None:
    token = deps.ids.uuid()
    await _run_submits_and_polls(tx, deps.policy, token)
    await _run_settlement(tx)
    await _run_deliveries(tx, deps.policy, token)


async def _run_submits_and_polls(tx: Tx, policy: Policy, token: UUID) -> None:
    lease, breaker = policy.lease, policy.breaker_failures
    await submits.claim(
        tx,
        0,
        in_flight=policy.max_in_flight,
        lease=lease,
        breaker=breaker,
        suspicious=policy.suspicious,
        token=token,
    )
    await submits.submitted(tx, [])
    await polls.claim(tx, 0, lease=lease, breaker=breaker, token=token)
    await polls.in_flight(tx, _NOBODY, _NOBODY, Pace(), policy.list_from)
    await polls.match(tx, _NOBODY, [])
    await polls.release(tx, _NOBODY, token, wait=None, list_order="", pace=Pace(), is_safe=True)


async def _run_settlement(tx: Tx) -> None:
    await settlement.finish(tx, [])
    await settlement.add_events(tx, [])
    await settlement.receivers(tx, [])
    await settlement.add_deliveries(tx, [])
    await rollups.add_jobs(tx, [])


async def _run_deliveries(tx: Tx, policy: Policy, token: UUID) -> None:
    await deliveries.due(tx)
    await deliveries.claim(
        tx,
        0,
        ahead=0,
        free=0,
        lease=policy.lease,
        suspicious=policy.suspicious,
        token=token,
    )
    await deliveries.secrets(tx, [])
    await attempts.record(tx, [])
    await rollups.add_webhooks(tx, [])
