"""The SQL that reads the jobs of a filter through one index."""

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
from gateway.store.job_search.indexes import IndexPath, is_in_order, is_per_tenant

# How many jobs a walk reads beyond those asked for: shared by the named tenants, or without any.
_WALK = 1_000
_WALK_OF_ALL = 5_000


@dataclass(frozen=True, slots=True)
class StatementPart:
    """The part of the results to return: ids between two, exclusive, in one of the two orders."""

    limit: int
    offset: int = 0
    above: UUID | None = None
    below: UUID | None = None
    newest_first: bool = True


def _checked(key: str, rest: Sequence[str]) -> str:
    """A join that checks one job after the other. OFFSET 0 keeps the planner from reversing it."""
    if not rest:
        return ""
    return (
        f" CROSS JOIN LATERAL (SELECT FROM job j WHERE j.id = {key} AND {' AND '.join(rest)}"
        " OFFSET 0) AS checked"
    )


class _Source(NamedTuple):
    """The values to probe for, the table, its key, the alias that has the tenant, and the conditions."""

    values: str
    table: str
    key: str
    owner: str
    match: list[str]


class SearchStatement:
    """One statement, while it is written, and its arguments.

    A walk checks the nearest jobs one by one, with the index of ids or of states only.
    """

    def __init__(self, wanted: JobFilter, part: StatementPart) -> None:
        self.arguments = Arguments()
        self._wanted = wanted
        self._part = part
        self._is_per_tenant = is_per_tenant(wanted)
        self._order = "DESC" if part.newest_first else "ASC"

    def select_ids(self, path: IndexPath, *, walks: bool) -> str:
        """Select ids in order; with `walks`, from a walk before the index is read."""
        tenants, part = self._tenants(), self._part
        limit = self.arguments.add(part.limit + part.offset, "bigint")
        found = self._of_tenant(path, limit, walks=walks)
        return (
            f"SELECT p.id FROM {tenants} CROSS JOIN LATERAL ({found}) AS p"
            f" ORDER BY p.id {self._order} LIMIT {self.arguments.add(part.limit, 'bigint')}"
            f" OFFSET {self.arguments.add(part.offset, 'bigint')}"
        )

    def select_count(self, path: IndexPath, most: int | None = None) -> str:
        """Count the jobs, up to `most`."""
        tenants, source = self._tenants(), self._source(path)
        each, all_ = ("OFFSET 0", "") if most is None else (f"LIMIT {most}", f"LIMIT {most}")
        # An index in another order is read without bounds on the ids, so it is counted without them.
        is_bound = most is None or is_in_order(path, self._wanted)
        probe = self._probe(path, source, self._bounds(source.key, None) if is_bound else [])
        return (
            f"(SELECT count(*) FROM (SELECT FROM {tenants} CROSS JOIN {source.values}"
            f" CROSS JOIN LATERAL ({probe} {each}) AS p {all_}) AS q)"
        )

    def select_are_near(self) -> str:
        """Select whether a walk finds as many jobs as are asked for."""
        limit = self.arguments.add(self._part.limit + self._part.offset, "bigint")
        near = f"SELECT FROM ({self._walk(limit)}) AS w WHERE w.fits LIMIT {limit}"
        return (
            f"SELECT COALESCE(min(n.jobs) = {limit}, FALSE) FROM {self._tenants()}"
            f" CROSS JOIN LATERAL (SELECT count(*) AS jobs FROM ({near}) AS found) AS n"
        )

    def select_tally(self, path: IndexPath, most: int, group: str) -> str:
        """Select (group, jobs that fit, jobs read) of the first `most` jobs that an index leads to.

        It reads no more than these, however few of them fit. In an index that is in another order than
        the ids these are any jobs, and the times of the filter are checked on each.
        """
        tenants, source = self._tenants(), self._source(path)
        rest = conditions_of(path.rest, self.arguments)
        in_order = is_in_order(path, self._wanted)
        within = [*source.match, *self._owner(source.owner)]
        within += self._bounds(source.key, None) if in_order else []
        order = f"ORDER BY {source.key} {self._order}" if in_order else ""
        # An argument: of a constant the planner might think that another index finds enough, too.
        limit = self.arguments.add(most, "bigint")
        fits, where = " AND ".join(rest) or "TRUE", " AND ".join(within) or "TRUE"
        if path.kind == "label":
            near = f"(SELECT {source.key} AS id FROM {source.table} WHERE {where} {order} LIMIT {limit})"
            each = (
                f"(SELECT c.* FROM {near} AS n CROSS JOIN LATERAL"
                f" (SELECT {group} AS key, {fits} AS fits FROM job j WHERE j.id = n.id OFFSET 0) AS c)"
            )
        else:
            shown = f"{group} AS key, {fits} AS fits"
            each = f"(SELECT {shown} FROM {source.table} WHERE {where} {order} LIMIT {limit})"
        return (
            f"SELECT p.key, count(*) FILTER (WHERE p.fits) AS jobs, count(*) AS looked FROM (SELECT q.*"
            f" FROM {tenants} CROSS JOIN {source.values} CROSS JOIN LATERAL {each} AS q LIMIT {limit}) AS p"
            " GROUP BY 1 ORDER BY 2 DESC, 1"
        )

    def _tenants(self) -> str:
        if not self._is_per_tenant:
            return "(VALUES (0)) AS tenants(nothing)"
        ids = self.arguments.add(list(dict.fromkeys(self._wanted.tenants or ())), "uuid[]")
        return f"unnest({ids}) AS tenants(tenant_id)"

    def _of_tenant(self, path: IndexPath, limit: str, *, walks: bool) -> str:
        """Select in order, from one tenant, or from all of them together."""
        probes = self._in_order if is_in_order(path, self._wanted) else self._sorted
        if not walks:
            return probes(path, limit, None)
        last = f"ORDER BY w.id {'ASC' if self._part.newest_first else 'DESC'} LIMIT 1"
        further = probes(path, limit, f"(SELECT w.id FROM walked w {last})")
        return (
            f"WITH walked AS MATERIALIZED ({self._walk(limit)})"
            f" (SELECT w.id FROM walked w WHERE w.fits LIMIT {limit}) UNION ALL"
            f" ({further}) LIMIT {limit}"
        )

    def _walk(self, limit: str) -> str:
        """Select the nearest jobs in the states of the filter, and whether each fits the filter."""
        wanted, add = self._wanted, self.arguments.add
        conditions = conditions_of(replace(wanted, states=()), self.arguments)
        fits = " AND ".join(["j.deleted_at IS NULL", *conditions])
        within = [*self._owner("j"), *self._bounds("j.id", None)]
        each = [
            ["j.deleted_at IS NULL", f"j.state = {add(state, 'text')}", *within]
            for state in dict.fromkeys(wanted.states or (FAILED if wanted.error_codes else ()))
        ] or [within or ["TRUE"]]
        tenants = len(wanted.tenants or ()) if self._is_per_tenant else 0
        budget = _WALK // tenants if tenants else _WALK_OF_ALL
        nearest = f"ORDER BY id {self._order} LIMIT {limit} + {budget}"
        # Each state has a limit of its own, so the states are merged and read no further than needed.
        jobs = (
            f"(SELECT j.id, {fits} AS fits FROM job j WHERE {' AND '.join(of)} {nearest})"
            for of in each
        )
        return f"SELECT * FROM ({' UNION ALL '.join(jobs)}) AS near {nearest}"

    def _in_order(self, path: IndexPath, limit: str, end: str | None) -> str:
        """Select from an index in the order of ids."""
        source = self._source(path)
        probe = self._probe(path, source, self._bounds(source.key, end))
        return (
            f"SELECT p.id FROM {source.values} CROSS JOIN LATERAL"
            f" ({probe} ORDER BY id {self._order} LIMIT {limit}) AS p"
            f" ORDER BY p.id {self._order} LIMIT {limit}"
        )

    def _sorted(self, path: IndexPath, limit: str, end: str | None) -> str:
        """Select from an index in another order: all rows that match, and of these the nearest.

        The inner query has only the conditions of that index, so that the planner uses no other one.
        """
        values, table, key, owner, match = self._source(path)
        within = [*match, *(self._owner(owner) if self._is_per_tenant else [])]
        conditions = self._bounds("p.id", end) + ([] if self._is_per_tenant else self._owner("p"))
        columns, left = f"{key} AS id, {owner}.tenant_id", path.rest
        if path.kind == "workflow" and left.states:  # that index contains the state as well
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
        # Sorted before they are checked, so that no more are checked than needed.
        join = _checked("p.id", rest)
        return f"SELECT p.id FROM ({found} OFFSET 0) AS p{join} ORDER BY p.id {self._order} LIMIT {limit}"

    def _probe(self, path: IndexPath, source: _Source, bounds: Sequence[str]) -> str:
        rest = conditions_of(path.rest, self.arguments)
        conditions, join = [*source.match, *self._owner(source.owner), *bounds], ""
        if path.kind == "label":
            join = _checked("l.job_id", rest)
        else:
            conditions += rest
        return (
            f"SELECT {source.key} AS id FROM {source.table}{join} WHERE {' AND '.join(conditions)}"
        )

    def _source(self, path: IndexPath) -> _Source:
        add = self.arguments.add
        if path.kind == "label":
            hashes = f"SELECT hashtextextended(t, 0) FROM unnest({self._texts(path.values)}) AS t"
            values = f"unnest(ARRAY({hashes})) AS v(label)"
            return _Source(values, "job_label l", "l.job_id", "l", ["l.label = v.label"])
        values, match = "(VALUES (0)) AS s(nothing)", ["j.deleted_at IS NULL"]
        if path.kind == "id":
            ids = add(list(dict.fromkeys(self._wanted.ids)), "uuid[]")
            return _Source(f"unnest({ids}) AS v(id)", "job j", "j.id", "j", [*match, "j.id = v.id"])
        if path.kind == "ended":
            wanted = self._wanted
            after, before = wanted.completed_after, wanted.completed_before
            bounds = ((">=", after_shown(after)), ("<", before_shown(before)))
            match += [
                f"j.completed_at {sign} {add(at, 'timestamptz')}" for sign, at in bounds if at
            ]
        else:
            if path.states:
                values = f"unnest({self._texts(path.states)}) AS s(state)"
                match.append("j.state = s.state")
            if path.kind == "workflow":
                values += f" CROSS JOIN unnest({self._texts(path.values)}) AS v(workflow)"
                match.append("j.workflow = v.workflow")
        return _Source(values, "job j", "j.id", "j", match)

    def _texts(self, texts: Sequence[str]) -> str:
        return self.arguments.add(list(dict.fromkeys(texts)), "text[]")

    def _owner(self, table: str) -> list[str]:
        if self._is_per_tenant:
            return [f"{table}.tenant_id = tenants.tenant_id"]
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
