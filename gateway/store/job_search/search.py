"""Find the jobs of a filter in the order of their ids, at the same cost at any depth.

For a plain statement with all conditions, an order and a limit, the planner would have to guess how many rows
it must read. Here we choose one index, and each of its probes reads only the rows that it returns.
"""

from collections.abc import Sequence
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.job_search.filter import Arguments, JobFilter, narrowed
from gateway.store.job_search.indexes import IndexPath, is_in_order, paths_of
from gateway.store.job_search.statement import SearchStatement, StatementPart

# If an index leads to fewer jobs than this, such as to a batch, it is used without a look at the nearest jobs.
_FEW = 2_000
# If the nearest jobs do not contain enough, the jobs of all indexes are counted up to these numbers, one step
# after the other. Of two indexes that lead to more jobs than that, neither is much worse than the other.
_FURTHER = (4_000, 16_000, 64_000, 256_000)
# The counts of one step are at most this together, so with many indexes each is counted less far.
_COUNTED = 1_600_000

# Until the end of the transaction the planner may only probe indexes in their order, and of two indexes it
# takes the one with fewer rows to read, even if the rows of the other are adjacent. Its statistics describe
# an average tenant, state or workflow, not the largest or the rarest.
_PROBE_INDEXES = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in {
        **{f"enable_{method}": "off" for method in ("seqscan", "bitmapscan", "sort")},
        **{f"enable_{method}": "off" for method in ("hashjoin", "mergejoin")},
        "random_page_cost": "0",
        "seq_page_cost": "0",
    }.items()
)

# The statement is planned once, because the choice of the index does not depend on the values. It does for
# times of completion, whose index is not in the order of the ids.
_PLAN_ONCE = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)"


async def search(tx: Tx, wanted: JobFilter, part: StatementPart) -> tuple[str, Arguments]:
    """A statement for this transaction that returns the ids of jobs in order, and its arguments."""
    wanted = await _prepare(tx, wanted)
    paths, statement = paths_of(wanted), SearchStatement(wanted, part)
    if len(paths) == 1 and is_in_order(paths[0], wanted):
        walks, path = paths[0].kind == "all", paths[0]
    else:
        path, jobs = await _shortest(tx, wanted, paths, _FEW)
        walks = jobs >= _FEW and (len(paths) == 1 or await _are_near(tx, wanted, part))
        if jobs >= _FEW and not walks:
            path = await _shortest_of_all(tx, wanted, paths)
    return statement.select_ids(path, walks=walks), statement.arguments


async def keep_to_indexes(tx: Tx) -> None:
    """Plan the rest of the transaction without sorts and without scans of whole tables."""
    await tx.prepare(_PROBE_INDEXES)


async def count_and_newest(tx: Tx, wanted: JobFilter) -> tuple[int, UUID | None]:
    """How many jobs the filter selects, and the newest of them."""
    found, arguments = await search(tx, wanted, StatementPart(1))
    newest = await tx.row(found, *arguments)
    return await _count(tx, wanted), newest.id if newest else None


async def next_jobs(
    tx: Tx, wanted: JobFilter, *, after: UUID | None, until: UUID, limit: int
) -> list[tuple[UUID, UUID]]:
    """The next jobs as (tenant, job), oldest first, after one id and up to another."""
    part = StatementPart(limit, above=after, below=UUID(int=until.int + 1), newest_first=False)
    found, arguments = await search(tx, wanted, part)
    rows = await tx.rows(
        f"SELECT j.tenant_id, j.id FROM ({found}) AS found JOIN job j ON j.id = found.id"
        " ORDER BY j.id",
        *arguments,
    )
    return [(row.tenant_id, row.id) for row in rows]


async def _count(tx: Tx, wanted: JobFilter) -> int:
    """How many jobs the filter selects."""
    wanted = await _prepare(tx, wanted)
    path = await _shortest_of_all(tx, wanted, paths_of(wanted))
    statement = SearchStatement(wanted, StatementPart(0))
    row = await tx.one(f"SELECT {statement.select_count(path)}", *statement.arguments)
    return row[0]


async def path_to_tally(tx: Tx, wanted: JobFilter) -> tuple[IndexPath, JobFilter]:
    """The index to tally the jobs of a filter with, and the filter with only its possible states.

    The transaction is planned as for a search. Of indexes that lead to many, it is one in the order of ids,
    so that the newest jobs are read.
    """
    wanted = await _prepare(tx, wanted)
    paths = paths_of(wanted)
    if len(paths) == 1:
        return paths[0], wanted
    path, jobs = await _shortest(tx, wanted, paths, _FEW)
    if jobs >= _FEW:
        path = next((one for one in paths if is_in_order(one, wanted)), path)
    return path, wanted


async def _prepare(tx: Tx, wanted: JobFilter) -> JobFilter:
    await keep_to_indexes(tx)
    if not (wanted.completed_after or wanted.completed_before):
        await tx.prepare(_PLAN_ONCE)
    return narrowed(wanted)


async def _are_near(tx: Tx, wanted: JobFilter, part: StatementPart) -> bool:
    statement = SearchStatement(wanted, part)
    return (await tx.one(statement.select_are_near(), *statement.arguments))[0]


async def _shortest_of_all(tx: Tx, wanted: JobFilter, paths: Sequence[IndexPath]) -> IndexPath:
    steps = [most for most in _FURTHER if most * len(paths) <= _COUNTED]
    for most in steps if len(paths) > 1 else ():
        path, jobs = await _shortest(tx, wanted, paths, most)
        if jobs < most:
            return path
    return paths[0]


async def _shortest(
    tx: Tx, wanted: JobFilter, paths: Sequence[IndexPath], most: int
) -> tuple[IndexPath, int]:
    """The index that leads to the fewest jobs, and how many those are, counted up to `most`."""
    statement = SearchStatement(wanted, StatementPart(0))
    alone = [path._replace(rest=JobFilter(wanted.tenants)) for path in paths]
    counts = [statement.select_count(path, most) for path in alone]
    row = await tx.one(f"SELECT {', '.join(counts)}", *statement.arguments)
    best = min(range(len(paths)), key=lambda place: row[place])
    return paths[best], row[best]
