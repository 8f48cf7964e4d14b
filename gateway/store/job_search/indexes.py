"""The indexes that lead to the jobs of a filter."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.core.model import JobState
from gateway.store.job_search.filter import JobFilter, labels_of

# Up to this many tenants are probed one by one.
_MOST_TENANTS = 100
_STATES = tuple(state.value for state in JobState)


class IndexPath(NamedTuple):
    """An index, the values to probe it for, and the rest of the filter, which is checked on each job."""

    kind: str
    rest: JobFilter
    values: Sequence[str] = ()
    states: Sequence[str] = ()


def paths_of(wanted: JobFilter) -> list[IndexPath]:
    """All index paths to the jobs of a filter; of paths that lead to equally many, the better one is first."""
    if wanted.ids:  # so few that no other index is better
        return [IndexPath("id", replace(wanted, ids=()))]
    found = [IndexPath("label", rest, values) for values, rest in labels_of(wanted)]
    if wanted.workflows and is_per_tenant(wanted):
        rest = replace(wanted, workflows=(), states=())
        found.append(IndexPath("workflow", rest, wanted.workflows, wanted.states or _STATES))
    elif wanted.workflows:
        found.append(IndexPath("workflow", replace(wanted, workflows=()), wanted.workflows))
    if wanted.states and not (wanted.workflows and is_per_tenant(wanted)):
        found.append(IndexPath("state", replace(wanted, states=()), states=wanted.states))
    ended = IndexPath("ended", replace(wanted, completed_after=None, completed_before=None))
    if wanted.completed_after:  # only this index knows where the oldest of them is
        found.insert(0, ended)
    elif wanted.completed_before:
        found.append(ended)
    return found or [IndexPath("all", wanted, states=_STATES)]


def is_in_order(path: IndexPath, wanted: JobFilter) -> bool:
    """Whether a probe of the index returns jobs in the order of their ids."""
    return path.kind in ("state", "all") or (is_per_tenant(wanted) and path.kind != "ended")


def is_per_tenant(wanted: JobFilter) -> bool:
    """Whether each tenant is probed by itself."""
    return wanted.tenants is not None and len(wanted.tenants) <= _MOST_TENANTS
