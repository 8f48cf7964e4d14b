"""How many jobs of a filter are in each status, and have failed with each error code.

A tally reads a limited number of jobs, so it costs the same in a table of any size. A number that could be
higher says so.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.core.model import STATUS_STATES
from gateway.store.database import AnyRow, Tx
from gateway.store.job_search.filter import FAILED, JobFilter
from gateway.store.job_search.search import path_to_tally
from gateway.store.job_search.statement import SearchStatement, StatementPart

# How many jobs are read at most for each number.
MOST = 10_000
_CODE = "left(j.error->>'code', 100)"
_MOST_CODES = 50


class Tally(NamedTuple):
    """How many jobs have a status or an error code; there may be more if `is_floor`."""

    key: str
    jobs: int
    is_floor: bool


async def by_status(tx: Tx, wanted: JobFilter) -> list[Tally]:
    """The jobs of each status that the filter allows."""
    found: list[Tally] = []
    for status, of_status in STATUS_STATES.items():
        states = {state.value for state in of_status}
        chosen = states & set(wanted.states) if wanted.states else states
        if chosen:
            rows, is_floor = await _tally(tx, replace(wanted, states=tuple(sorted(chosen))), "''")
            found.append(Tally(status, sum(row.jobs for row in rows), is_floor))
    return found


async def by_error_code(tx: Tx, wanted: JobFilter) -> list[Tally]:
    """The failed jobs of each error code, the most frequent first.

    Each state is read by itself, so that many jobs of one do not hide those of another.
    """
    jobs, floors = Counter[str](), False
    for state in FAILED:
        if not wanted.states or state in wanted.states:
            rows, is_floor = await _tally(tx, replace(wanted, states=(state,)), _CODE)
            jobs.update({row.key: row.jobs for row in rows if row.key and row.jobs})
            floors = floors or is_floor
    return [Tally(key, number, floors) for key, number in jobs.most_common(_MOST_CODES)]


async def _tally(tx: Tx, wanted: JobFilter, group: str) -> tuple[Sequence[AnyRow], bool]:
    """The groups, and whether there may be more jobs than were read."""
    path, wanted = await path_to_tally(tx, wanted)
    statement = SearchStatement(wanted, StatementPart(0))
    rows = await tx.rows(statement.select_tally(path, MOST + 1, group), *statement.arguments)
    return rows, sum(row.looked for row in rows) > MOST
