"""Find the deliveries of a filter in the order of their ids, at about the same cost at any depth.

One index is read in its order, for each value that the filter has for it. The other conditions are checked on
each row. Of several indexes the one that leads to the fewest deliveries is used.
"""

from typing import NamedTuple
from uuid import UUID

from gateway.core.webhooks.judge_reply import error_class
from gateway.store.database import Tx
from gateway.store.delivery_search.filter import (
    ALL_TENANTS,
    DELIVERED,
    DeliveryFilter,
    conditions_of,
)

# The deliveries of each index are counted up to this number.
_FEW = 3_000
# The type of most deliveries; there is no index of it.
_USUAL_TYPE = "job.succeeded"
_FAILED = frozenset({"exhausted", "parked"})

# Until the end of the transaction the planner may only probe indexes in their order, without parallel workers,
# whose start takes longer than a page.
PROBE_INDEXES = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in {
        **{f"enable_{method}": "off" for method in ("seqscan", "bitmapscan", "sort")},
        **{f"enable_{method}": "off" for method in ("hashjoin", "mergejoin")},
        "max_parallel_workers_per_gather": "0",
    }.items()
)


class _Index(NamedTuple):
    """An index, as a condition on a delivery `d` and a value `v`, and the values to probe it for."""

    values: list[object]
    type: str
    condition: str


async def search(
    tx: Tx, wanted: DeliveryFilter, *, before: UUID | None, limit: int
) -> tuple[str, list[object]]:
    """A statement for this transaction that returns ids, newest first, and its arguments."""
    if wanted.tenant_id == ALL_TENANTS:
        return await _search_all(tx, wanted, before=before, limit=limit)
    conditions, arguments = conditions_of(wanted, before)
    if wanted.jobs or wanted.resent_after:  # few rows, so their order does not matter
        index = None
    else:
        await tx.prepare(PROBE_INDEXES)
        index = await _choose(tx, wanted)
    order = "ORDER BY d.id DESC"
    if index is None:
        found = (
            f"SELECT d.id FROM delivery d WHERE {' AND '.join(conditions)} {order} LIMIT {limit:d}"
        )
        return found, arguments
    arguments.append(index.values)
    span = [one for one in conditions if one.startswith(("d.tenant_id", "d.id"))]
    # OFFSET keeps the other conditions out of the subquery, so that the planner uses no other index.
    on_index = f"SELECT d.* FROM delivery d WHERE {' AND '.join([*span, index.condition])} {order} OFFSET 0"
    each = f"SELECT d.id FROM ({on_index}) AS d WHERE {' AND '.join(conditions)} LIMIT {limit:d}"
    values = f"unnest(${len(arguments)}::{index.type}[]) AS v"
    found = f"SELECT d.id FROM {values} CROSS JOIN LATERAL ({each}) AS d {order} LIMIT {limit:d}"
    return found, arguments


async def _search_all(
    tx: Tx, wanted: DeliveryFilter, *, before: UUID | None, limit: int
) -> tuple[str, list[object]]:
    """The same over all tenants: an index is probed for each of them, and without one the ids are walked.

    The newest rows of all can only belong to the tenants whose own newest row is among the newest, so the others
    are read no further than that row.
    """
    await tx.prepare(PROBE_INDEXES)
    conditions, arguments = conditions_of(wanted, before)
    which, order = " AND ".join(conditions), f"ORDER BY d.id DESC LIMIT {limit:d}"
    indexes = [one for one in _indexes_of(wanted) if one.type == "text"]
    if not indexes:
        return f"SELECT d.id FROM delivery d WHERE {which} {order}", arguments
    index = indexes[0]
    arguments.append(index.values)
    span = [one for one in conditions if one.startswith("d.id")]
    on_index = " AND ".join(["d.tenant_id = t.id", index.condition, *span])
    each = (
        f"SELECT d.id FROM (SELECT d.* FROM delivery d WHERE {on_index} ORDER BY d.id DESC OFFSET 0)"
        f" AS d WHERE {which}"
    )
    probes = f"tenant t CROSS JOIN unnest(${len(arguments)}::text[]) AS v"
    newest = f"SELECT t.id, v FROM {probes} CROSS JOIN LATERAL ({each} LIMIT 1) AS d {order}"
    rows = f"({newest}) AS t CROSS JOIN LATERAL ({each} LIMIT {limit:d}) AS d"
    return f"SELECT d.id FROM {rows} {order}", arguments


async def next_rows(
    tx: Tx, wanted: DeliveryFilter, *, after: UUID | None, until: UUID, size: int
) -> tuple[str, list[object], list[str]]:
    """A statement that reads the next rows of one index, oldest first, after one id and up to another.

    It returns `d.*` and the value `v` of the index, at most `size` rows for each value, so it costs the same
    however many rows the filter leaves out. Returned with its arguments and with the conditions that are
    still to be checked.
    """
    conditions, arguments = conditions_of(wanted, UUID(int=until.int + 1), after)
    if wanted.jobs:  # few rows, so their order does not matter
        index = _Index(list(wanted.jobs), "uuid", "d.job_id = v")
    else:
        await tx.prepare(PROBE_INDEXES)
        index = await _choose(tx, wanted) or _Index([1], "int", "TRUE")
    arguments.append(index.values)
    span = [one for one in conditions if one.startswith(("d.tenant_id", "d.id"))]
    on_index = " AND ".join([*span, index.condition])
    sql = (
        f"SELECT v.v, d.* FROM unnest(${len(arguments)}::{index.type}[]) AS v(v) CROSS JOIN LATERAL"
        f" (SELECT d.* FROM delivery d WHERE {on_index} ORDER BY d.id LIMIT {size:d}) AS d"
    )
    return sql, arguments, conditions


async def _choose(tx: Tx, wanted: DeliveryFilter) -> _Index | None:
    indexes = _indexes_of(wanted)
    if len(indexes) < 2:  # noqa: PLR2004 - there is no choice
        return indexes[0] if indexes else None
    counts = [
        f"(SELECT count(*) FROM (SELECT 1 FROM unnest(${place}::{index.type}[]) AS v"
        f" JOIN delivery d ON d.tenant_id = $1 AND {index.condition} LIMIT {_FEW}) AS few)"
        for place, index in enumerate(indexes, 2)
    ]
    row = await tx.one(
        f"SELECT {', '.join(counts)}", wanted.tenant_id, *(index.values for index in indexes)
    )
    return indexes[min(range(len(indexes)), key=lambda place: row[place])]


def _indexes_of(wanted: DeliveryFilter) -> list[_Index]:
    """The indexes that lead to fewer deliveries than all; of equal ones the first is better."""
    endpoints, outcomes = set(wanted.endpoints), set(wanted.outcomes)
    # A status has one class, of which there is an index.
    classes = {error_class(status) or DELIVERED for status in wanted.statuses}
    outcomes = outcomes or classes
    states, events = set(wanted.states), set(wanted.events)
    failed = " AND d.state IN ('exhausted', 'parked')" if states and states <= _FAILED else ""
    if failed and endpoints:
        states = set[str]()  # there is an index for both
    indexes = [
        _Index(list(outcomes - {DELIVERED}), "text", "d.last_class = v"),
        _Index(list(states), "text", "d.state = v AND d.state <> 'delivered'"),
        _Index(list(events), "text", "d.type = v AND d.type <> 'job.succeeded'"),
        _Index(list(endpoints), "uuid", f"d.endpoint_id = v{failed}"),
    ]
    usual = (DELIVERED in outcomes, DELIVERED in states, _USUAL_TYPE in events, False)
    return [index for index, rest in zip(indexes, usual, strict=True) if index.values and not rest]
