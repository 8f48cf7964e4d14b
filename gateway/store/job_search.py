"""How the jobs of a filter are found in the order of their ids, at the same price at any depth.

A plain statement with all conditions, an order and a limit would leave the planner to guess how far
it has to walk; here each way leads through one index, by probes that each read only what they answer.
"""

from gateway.store.engine import Tx
from gateway.store.job_filter import Arguments, JobFilter
from gateway.store.job_ways import Part, Statement, Way, is_in_order, ways_of

# Ways that lead to fewer jobs than this are told apart, and need no walk.
_FEW = 1_000

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


async def search(tx: Tx, wanted: JobFilter, part: Part) -> tuple[str, Arguments]:
    """A statement that finds the ids of jobs in order, with its arguments, for this transaction."""
    way, most = await _choose(tx, wanted)
    statement = Statement(wanted, part)
    return statement.finding(way, walks=most >= _FEW), statement.arguments


async def keep_to_indexes(tx: Tx) -> None:
    """Have the rest of the transaction planned without sorts and scans of whole tables."""
    await tx.one(_STEADY)


async def count(tx: Tx, wanted: JobFilter) -> int:
    """How many jobs there are."""
    way, _ = await _choose(tx, wanted)
    statement = Statement(wanted, Part(0))
    row = await tx.one(f"SELECT {statement.counting(way)}", *statement.arguments)
    return row[0]


async def _choose(tx: Tx, wanted: JobFilter) -> tuple[Way, int]:
    """The way that leads to the fewest jobs, and to how many, as far as that is worth knowing."""
    await keep_to_indexes(tx)
    ways = ways_of(wanted)
    if len(ways) == 1 and is_in_order(ways[0], wanted):
        return ways[0], _FEW
    statement = Statement(wanted, Part(0))
    alone = [way._replace(rest=JobFilter(wanted.tenants)) for way in ways]
    counts = [statement.counting(way, _FEW) for way in alone]
    row = await tx.one(f"SELECT {', '.join(counts)}", *statement.arguments)
    best = min(range(len(ways)), key=lambda place: row[place])
    return ways[best], row[best]
