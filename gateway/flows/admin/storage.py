"""Storage: what Postgres holds of the gateway, and when retention last deleted and will delete again.

It runs for the console. It reads what Postgres knows of its tables without counting rows, and writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.core.diagnosis import ServerFacts, TableFacts
from gateway.flows.deps import Deps
from gateway.flows.health.readiness import needed_revision
from gateway.flows.maintain.prune import EVERY_SECONDS
from gateway.store import diagnostics, processes
from gateway.store.migration.migrate import revision
from gateway.store.retention import prune


@dataclass(frozen=True, slots=True)
class Storage:
    """Postgres, the schema, the tables from the largest on, and the rounds of retention."""

    server: ServerFacts
    revision: str
    needed: str
    tables: Sequence[TableFacts]
    pruned_at: datetime | None
    next_prune_at: datetime | None


async def storage(deps: Deps) -> Storage:
    """Read it; raises Unavailable."""
    async with deps.db.single() as tx:
        server, tables = await diagnostics.server(tx), await diagnostics.tables(tx)
        present, now = await revision(tx), await diagnostics.now(tx)
        _, since_prune = await processes.last_rounds(tx)
        until_next = await prune.next_round(tx, EVERY_SECONDS)
    return Storage(
        server,
        present or "nothing",
        needed_revision(),
        sorted(tables, key=lambda one: -one.size),
        None if since_prune is None else now - timedelta(seconds=since_prune),
        None if until_next is None else now + timedelta(seconds=max(until_next, 0.0)),
    )
