"""How the deliveries of a filter are found in the order of their ids, at about the same price at any depth.

Each way leads through one index, in its order, for each value that is asked for; the other conditions
are checked on the way. Of several ways the one that leads to the fewest deliveries is taken.
"""

from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.delivery_search.filter import DELIVERED, DeliveryFilter, conditions_of

# Ways that lead to fewer deliveries than this are told apart.
_FEW = 3_000
# What most deliveries are; lists of it need no way of their own.
_USUAL_TYPE = "job.succeeded"
_FAILED = frozenset({"exhausted", "parked"})

# Only probes in the order of an index, and no helpers, whose start takes longer than a page. Until
# the transaction ends.
_STEADY = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in {
        **{f"enable_{way}": "off" for way in ("seqscan", "bitmapscan", "sort")},
        **{f"enable_{way}": "off" for way in ("hashjoin", "mergejoin")},
        "max_parallel_workers_per_gather": "0",
    }.items()
)


class _Way(NamedTuple):
    """An index by a condition on `d` and each of some values, `v`."""

    values: list[object]
    type: str
    condition: str


async def search(
    tx: Tx, wanted: DeliveryFilter, *, before: UUID | None, limit: int
) -> tuple[str, list[object]]:
    """A statement that finds ids, newest first, with its arguments, for this transaction."""
    conditions, arguments = conditions_of(wanted, before)
    if wanted.jobs or wanted.resent_after:  # not in the order of ids, but few
        way = None
    else:
        await tx.prepare(_STEADY)
        way = await _choose(tx, wanted)
    order = "ORDER BY d.id DESC"
    if way is None:
        found = (
            f"SELECT d.id FROM delivery d WHERE {' AND '.join(conditions)} {order} LIMIT {limit:d}"
        )
        return found, arguments
    arguments.append(way.values)
    span = [one for one in conditions if one.startswith(("d.tenant_id", "d.id"))]
    # OFFSET keeps the rest of the conditions out of there, so that no other index can be taken.
    on_way = (
        f"SELECT d.* FROM delivery d WHERE {' AND '.join([*span, way.condition])} {order} OFFSET 0"
    )
    each = f"SELECT d.id FROM ({on_way}) AS d WHERE {' AND '.join(conditions)} LIMIT {limit:d}"
    values = f"unnest(${len(arguments)}::{way.type}[]) AS v"
    found = f"SELECT d.id FROM {values} CROSS JOIN LATERAL ({each}) AS d {order} LIMIT {limit:d}"
    return found, arguments


async def stretch(
    tx: Tx, wanted: DeliveryFilter, *, after: UUID | None, until: UUID, size: int
) -> tuple[str, list[object], list[str]]:
    """A statement that goes over the next deliveries, oldest first, from after one up to another.

    It selects the rows that meet its way only, as `d.*` and the `v` by which each was met, `size`
    of each at most, so it costs the same however many the filter leaves out. Comes with its
    arguments and with the conditions that are still to be checked.
    """
    conditions, arguments = conditions_of(wanted, UUID(int=until.int + 1), after)
    if wanted.jobs:  # not in the order of ids, but few
        way = _Way(list(wanted.jobs), "uuid", "d.job_id = v")
    else:
        await tx.prepare(_STEADY)
        way = await _choose(tx, wanted) or _Way([1], "int", "TRUE")
    arguments.append(way.values)
    span = [one for one in conditions if one.startswith(("d.tenant_id", "d.id"))]
    on_way = " AND ".join([*span, way.condition])
    sql = (
        f"SELECT v.v, d.* FROM unnest(${len(arguments)}::{way.type}[]) AS v(v) CROSS JOIN LATERAL"
        f" (SELECT d.* FROM delivery d WHERE {on_way} ORDER BY d.id LIMIT {size:d}) AS d"
    )
    return sql, arguments, conditions


async def _choose(tx: Tx, wanted: DeliveryFilter) -> _Way | None:
    ways = _ways_of(wanted)
    if len(ways) < 2:  # noqa: PLR2004 - there is no choice
        return ways[0] if ways else None
    counts = [
        f"(SELECT count(*) FROM (SELECT 1 FROM unnest(${place}::{way.type}[]) AS v"
        f" JOIN delivery d ON d.tenant_id = $1 AND {way.condition} LIMIT {_FEW}) AS few)"
        for place, way in enumerate(ways, 2)
    ]
    row = await tx.one(
        f"SELECT {', '.join(counts)}", wanted.tenant_id, *(way.values for way in ways)
    )
    return ways[min(range(len(ways)), key=lambda place: row[place])]


def _ways_of(wanted: DeliveryFilter) -> list[_Way]:
    """Those that lead to less than all; of equal ones the first is better."""
    endpoints, outcomes = set(wanted.endpoints), set(wanted.outcomes)
    states, events = set(wanted.states), set(wanted.events)
    failed = " AND d.state IN ('exhausted', 'parked')" if states and states <= _FAILED else ""
    if failed and endpoints:
        states = set[str]()  # there is an index for both
    ways = [
        _Way(list(outcomes - {DELIVERED}), "text", "d.last_class = v"),
        _Way(list(states), "text", "d.state = v AND d.state <> 'delivered'"),
        _Way(list(events), "text", "d.type = v AND d.type <> 'job.succeeded'"),
        _Way(list(endpoints), "uuid", f"d.endpoint_id = v{failed}"),
    ]
    usual = (DELIVERED in outcomes, DELIVERED in states, _USUAL_TYPE in events, False)
    return [way for way, rest in zip(ways, usual, strict=True) if way.values and not rest]
