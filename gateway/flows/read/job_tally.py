"""How many jobs of a filter are in each status, and failed with each error code: for people."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.replica.freshness import needed
from gateway.core.text.cursor import PageCursor
from gateway.flows.deps import Deps
from gateway.flows.read.export import reading
from gateway.store.database import Database
from gateway.store.job_search import tally
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.tally import MOST, Tally

__all__ = ["MOST", "JobTallies", "Tally", "job_tallies"]


class JobTallies(NamedTuple):
    """The tallies of a filter; each reads at most `MOST` jobs."""

    statuses: Sequence[Tally]
    error_codes: Sequence[Tally]


async def job_tallies(deps: Deps, wanted: JobFilter) -> JobTallies:
    """The tallies of a filter, at the same cost whatever it selects."""
    if wanted.tenants == ():  # an empty list must not mean all tenants
        return JobTallies((), ())

    async def read(database: Database) -> JobTallies:
        async with reading(database, wanted.tenants) as tx:
            statuses = await tally.by_status(tx, wanted)
            return JobTallies(statuses, await tally.by_error_code(tx, wanted))

    made = (wanted.created_after, wanted.created_before)
    ended = (wanted.completed_after, wanted.completed_before)
    reader = deps.history(needed(deps.clock.now(), PageCursor(), made, ended))
    return await reader.read(read)
