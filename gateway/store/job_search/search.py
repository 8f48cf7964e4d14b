"""How the jobs of a filter are found in the order of their ids, at the same price at any depth.

A plain statement with all conditions, an order and a limit would leave the planner to guess how far
it has to walk; here each way leads through one index, by probes that each read only what they answer.
"""

from collections.abc import Sequence

from gateway.store.database import Tx
from gateway.store.job_search.filter import Arguments, JobFilter, narrowed
from gateway.store.job_search.indexes import IndexPath, is_in_order, ways_of
from gateway.store.job_search.statement import SearchStatement, StatementPart

# Ways that lead to fewer jobs than this, such as a whole batch, are told apart and need no walk.
_FEW = 2_000
# How far others are counted where the nearest jobs are not enough, in steps, as it is all ways that
# are: of two that lead to more jobs than that, neither is much worse than the other.
_FURTHER = (4_000, 16_000, 64_000, 256_000)
# Of many ways each is counted less far, so that all together are not more.
_COUNTED = 1_600_000

# Only probes in the order of an index, and of two such indexes the one with fewer rows to pass, even
# if those of the other lie side by side. What the planner knows of an average tenant, state or
# workflow says nothing of the largest or the rarest. Until the transaction ends.
_STEADY = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in {
        **{f"enable_{way}": "off" for way in ("seqscan", "bitmapscan", "sort")},
        **{f"enable_{way}": "off" for way in ("hashjoin", "mergejoin")},
        "random_page_cost": "0",
        "seq_page_cost": "0",
    }.items()
)

# Planned once, as none of those indexes is chosen for the values that are asked for. Where times are
# looked up in an index that does not have the ids in order, they do tell which one to take.
_PLANNED_ONCE = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)"


async def search(tx: Tx, wanted: JobFilter, part: StatementPart) -> tuple[str, Arguments]:
    """A statement that finds the ids of jobs in order, with its arguments, for this transaction."""
    wanted = await _planned(tx, wanted)
    ways, statement = ways_of(wanted), SearchStatement(wanted, part)
    if len(ways) == 1 and is_in_order(ways[0], wanted):
        walks, way = ways[0].kind == "all", ways[0]
    else:
        way, jobs = await _shortest(tx, wanted, ways, _FEW)
        walks = jobs >= _FEW and (len(ways) == 1 or await _are_near(tx, wanted, part))
        if jobs >= _FEW and not walks:
            way = await _shortest_of_all(tx, wanted, ways)
    return statement.finding(way, walks=walks), statement.arguments


async def keep_to_indexes(tx: Tx) -> None:
    """Have the rest of the transaction planned without sorts and scans of whole tables."""
    await tx.prepare(_STEADY)


async def count(tx: Tx, wanted: JobFilter) -> int:
    """How many jobs there are."""
    wanted = await _planned(tx, wanted)
    way = await _shortest_of_all(tx, wanted, ways_of(wanted))
    statement = SearchStatement(wanted, StatementPart(0))
    row = await tx.one(f"SELECT {statement.counting(way)}", *statement.arguments)
    return row[0]


async def _planned(tx: Tx, wanted: JobFilter) -> JobFilter:
    await keep_to_indexes(tx)
    if not (wanted.completed_after or wanted.completed_before):
        await tx.prepare(_PLANNED_ONCE)
    return narrowed(wanted)


async def _are_near(tx: Tx, wanted: JobFilter, part: StatementPart) -> bool:
    statement = SearchStatement(wanted, part)
    return (await tx.one(statement.nearby(), *statement.arguments))[0]


async def _shortest_of_all(tx: Tx, wanted: JobFilter, ways: Sequence[IndexPath]) -> IndexPath:
    steps = [most for most in _FURTHER if most * len(ways) <= _COUNTED]
    for most in steps if len(ways) > 1 else ():
        way, jobs = await _shortest(tx, wanted, ways, most)
        if jobs < most:
            return way
    return ways[0]


async def _shortest(
    tx: Tx, wanted: JobFilter, ways: Sequence[IndexPath], most: int
) -> tuple[IndexPath, int]:
    """The way that leads to the fewest jobs, and to how many, as far as they are counted."""
    statement = SearchStatement(wanted, StatementPart(0))
    alone = [way._replace(rest=JobFilter(wanted.tenants)) for way in ways]
    counts = [statement.counting(way, most) for way in alone]
    row = await tx.one(f"SELECT {', '.join(counts)}", *statement.arguments)
    best = min(range(len(ways)), key=lambda place: row[place])
    return ways[best], row[best]
