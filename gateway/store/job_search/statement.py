"""The statements that go a way to the jobs of a filter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from gateway.store.job_search.filter import (
    FAILED,
    Arguments,
    JobFilter,
    after_shown,
    before_shown,
    conditions_of,
    id_bounds,
)
from gateway.store.job_search.indexes import IndexPath, in_lanes, is_in_order

# So many jobs are looked at one by one before an index is used that does not have them in order.
_WALK = 1_000
_WALK_OF_ALL = 5_000


@dataclass(frozen=True, slots=True)
class StatementPart:
    """Which part of what is found: ids between two, both left out, in one order or the other."""

    limit: int
    offset: int = 0
    above: UUID | None = None
    below: UUID | None = None
    newest_first: bool = True


def _looked_at(key: str, rest: Sequence[str]) -> str:
    """A join that looks at one job after the other, and is never turned round."""
    if not rest:
        return ""
    return (
        f" CROSS JOIN LATERAL (SELECT FROM job j WHERE j.id = {key} AND {' AND '.join(rest)}"
        " OFFSET 0) AS looked_at"
    )


class _Source(NamedTuple):
    """What to probe for, where, and what makes a row there one that is meant."""

    values: str
    table: str
    key: str
    owner: str
    match: list[str]


class SearchStatement:
    """One statement that is being written."""

    def __init__(self, wanted: JobFilter, part: StatementPart) -> None:
        self.arguments = Arguments()
        self._wanted = wanted
        self._part = part
        self._in_lanes = in_lanes(wanted)
        self._order = "DESC" if part.newest_first else "ASC"

    def finding(self, way: IndexPath, *, walks: bool) -> str:
        """Ids in order; `walks` says that looking at the nearest jobs first is worth it."""
        lanes, part = self._lanes(), self._part
        limit = self.arguments.add(part.limit + part.offset, "bigint")
        found = self._of_lane(way, limit, walks=walks)
        return (
            f"SELECT p.id FROM {lanes} CROSS JOIN LATERAL ({found}) AS p"
            f" ORDER BY p.id {self._order} LIMIT {self.arguments.add(part.limit, 'bigint')}"
            f" OFFSET {self.arguments.add(part.offset, 'bigint')}"
        )

    def counting(self, way: IndexPath, most: int | None = None) -> str:
        """How many there are, up to a number."""
        lanes, source = self._lanes(), self._source(way)
        each, all_ = ("OFFSET 0", "") if most is None else (f"LIMIT {most}", f"LIMIT {most}")
        # An index in another order has to be read for all times, so it is counted for all.
        is_bound = most is None or is_in_order(way, self._wanted)
        probe = self._probe(way, source, self._bounds(source.key, None) if is_bound else [])
        return (
            f"(SELECT count(*) FROM (SELECT FROM {lanes} CROSS JOIN {source.values}"
            f" CROSS JOIN LATERAL ({probe} {each}) AS p {all_}) AS q)"
        )

    def nearby(self) -> str:
        """Whether looking at the nearest jobs finds as many as are asked for."""
        limit = self.arguments.add(self._part.limit + self._part.offset, "bigint")
        near = f"SELECT FROM ({self._walk(limit)}) AS w WHERE w.fits LIMIT {limit}"
        return (
            f"SELECT COALESCE(min(n.jobs) = {limit}, FALSE) FROM {self._lanes()}"
            f" CROSS JOIN LATERAL (SELECT count(*) AS jobs FROM ({near}) AS found) AS n"
        )

    def _lanes(self) -> str:
        if not self._in_lanes:
            return "(VALUES (0)) AS lane(nothing)"
        ids = self.arguments.add(list(dict.fromkeys(self._wanted.tenants or ())), "uuid[]")
        return f"unnest({ids}) AS lane(tenant_id)"

    def _of_lane(self, way: IndexPath, limit: str, *, walks: bool) -> str:
        """In order, from one tenant or from all of them together."""
        probes = self._in_turn if is_in_order(way, self._wanted) else self._sorted
        if not walks:
            return probes(way, limit, None)
        last = f"ORDER BY w.id {'ASC' if self._part.newest_first else 'DESC'} LIMIT 1"
        further = probes(way, limit, f"(SELECT w.id FROM walked w {last})")
        return (
            f"WITH walked AS MATERIALIZED ({self._walk(limit)})"
            f" (SELECT w.id FROM walked w WHERE w.fits LIMIT {limit}) UNION ALL"
            f" ({further}) LIMIT {limit}"
        )

    def _walk(self, limit: str) -> str:
        """The nearest jobs of the states that they have to be in, and whether they fit."""
        wanted, add = self._wanted, self.arguments.add
        conditions = conditions_of(replace(wanted, states=()), self.arguments)
        fits = " AND ".join(["j.deleted_at IS NULL", *conditions])
        within = [*self._owner("j"), *self._bounds("j.id", None)]
        each = [
            ["j.deleted_at IS NULL", f"j.state = {add(state, 'text')}", *within]
            for state in dict.fromkeys(wanted.states or (FAILED if wanted.error_codes else ()))
        ] or [within or ["TRUE"]]
        lanes = len(wanted.tenants or ()) if self._in_lanes else 0
        budget = _WALK // lanes if lanes else _WALK_OF_ALL
        nearest = f"ORDER BY id {self._order} LIMIT {limit} + {budget}"
        # With limits of their own they are merged, and read no further than is asked for.
        jobs = (
            f"(SELECT j.id, {fits} AS fits FROM job j WHERE {' AND '.join(of)} {nearest})"
            for of in each
        )
        return f"SELECT * FROM ({' UNION ALL '.join(jobs)}) AS near {nearest}"

    def _in_turn(self, way: IndexPath, limit: str, end: str | None) -> str:
        """From an index that has them in order."""
        source = self._source(way)
        probe = self._probe(way, source, self._bounds(source.key, end))
        return (
            f"SELECT p.id FROM {source.values} CROSS JOIN LATERAL"
            f" ({probe} ORDER BY id {self._order} LIMIT {limit}) AS p"
            f" ORDER BY p.id {self._order} LIMIT {limit}"
        )

    def _sorted(self, way: IndexPath, limit: str, end: str | None) -> str:
        """From an index that has them in another order: all that are meant, and then the nearest.

        Nothing but what that index is for is said within, so that no other one is used.
        """
        values, table, key, owner, match = self._source(way)
        within = [*match, *(self._owner(owner) if self._in_lanes else [])]
        conditions = self._bounds("p.id", end) + ([] if self._in_lanes else self._owner("p"))
        columns, left = f"{key} AS id, {owner}.tenant_id", way.rest
        if way.kind == "workflow" and left.states:  # that index knows the state as well
            columns += ", j.state"
            conditions.append(f"p.state = ANY({self._texts(left.states)})")
            left = replace(left, states=())
        rest = conditions_of(left, self.arguments)
        found = (
            f"SELECT p.id FROM {values} CROSS JOIN LATERAL (SELECT {columns}"
            f" FROM {table} WHERE {' AND '.join(within)} OFFSET 0) AS p"
            f" WHERE {' AND '.join(conditions) or 'TRUE'} ORDER BY p.id {self._order}"
        )
        if not rest:
            return f"{found} LIMIT {limit}"
        # Sorted before they are looked at, so that no more are than it takes to find enough.
        join = _looked_at("p.id", rest)
        return f"SELECT p.id FROM ({found} OFFSET 0) AS p{join} ORDER BY p.id {self._order} LIMIT {limit}"

    def _probe(self, way: IndexPath, source: _Source, bounds: Sequence[str]) -> str:
        rest = conditions_of(way.rest, self.arguments)
        conditions, join = [*source.match, *self._owner(source.owner), *bounds], ""
        if way.kind == "label":
            join = _looked_at("l.job_id", rest)
        else:
            conditions += rest
        return (
            f"SELECT {source.key} AS id FROM {source.table}{join} WHERE {' AND '.join(conditions)}"
        )

    def _source(self, way: IndexPath) -> _Source:
        add = self.arguments.add
        if way.kind == "label":
            hashes = f"SELECT hashtextextended(t, 0) FROM unnest({self._texts(way.values)}) AS t"
            values = f"unnest(ARRAY({hashes})) AS v(label)"
            return _Source(values, "job_label l", "l.job_id", "l", ["l.label = v.label"])
        values, match = "(VALUES (0)) AS s(nothing)", ["j.deleted_at IS NULL"]
        if way.kind == "ended":
            wanted = self._wanted
            after, before = wanted.completed_after, wanted.completed_before
            bounds = ((">=", after_shown(after)), ("<", before_shown(before)))
            match += [
                f"j.completed_at {sign} {add(at, 'timestamptz')}" for sign, at in bounds if at
            ]
        else:
            if way.states:
                values = f"unnest({self._texts(way.states)}) AS s(state)"
                match.append("j.state = s.state")
            if way.kind == "workflow":
                values += f" CROSS JOIN unnest({self._texts(way.values)}) AS v(workflow)"
                match.append("j.workflow = v.workflow")
        return _Source(values, "job j", "j.id", "j", match)

    def _texts(self, texts: Sequence[str]) -> str:
        return self.arguments.add(list(dict.fromkeys(texts)), "text[]")

    def _owner(self, table: str) -> list[str]:
        if self._in_lanes:
            return [f"{table}.tenant_id = lane.tenant_id"]
        if self._wanted.tenants is None:
            return []
        ids = self.arguments.add(list(self._wanted.tenants), "uuid[]")
        return [f"{table}.tenant_id = ANY({ids})"]

    def _bounds(self, key: str, end: str | None) -> list[str]:
        after, before = id_bounds(self._wanted)
        part = self._part
        bounds = [(">=", after), ("<", before), (">", part.above), ("<", part.below)]
        found = [f"{key} {sign} {self.arguments.add(at, 'uuid')}" for sign, at in bounds if at]
        if end is not None:
            found.append(f"{key} {'<' if part.newest_first else '>'} {end}")
        return found
