"""The ways to the jobs of a filter: which index leads to them, and to how many more."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.core.model import JobState
from gateway.store.job_search.filter import JobFilter, labels_of

# Each tenant is probed by itself where there are no more of them than this.
_LANES = 100
_STATES = tuple(state.value for state in JobState)


class IndexPath(NamedTuple):
    """An index that leads to the jobs of a filter, the values to probe for, and what is left."""

    kind: str
    rest: JobFilter
    values: Sequence[str] = ()
    states: Sequence[str] = ()


def ways_of(wanted: JobFilter) -> list[IndexPath]:
    """All ways to the jobs of a filter, best first where they lead to equally many."""
    found = [IndexPath("label", rest, values) for values, rest in labels_of(wanted)]
    if wanted.workflows and in_lanes(wanted):
        rest = replace(wanted, workflows=(), states=())
        found.append(IndexPath("workflow", rest, wanted.workflows, wanted.states or _STATES))
    elif wanted.workflows:
        found.append(IndexPath("workflow", replace(wanted, workflows=()), wanted.workflows))
    if wanted.states and not (wanted.workflows and in_lanes(wanted)):
        found.append(IndexPath("state", replace(wanted, states=()), states=wanted.states))
    ended = IndexPath("ended", replace(wanted, completed_after=None, completed_before=None))
    if wanted.completed_after:  # the only way that knows where the oldest of them is
        found.insert(0, ended)
    elif wanted.completed_before:
        found.append(ended)
    return found or [IndexPath("all", wanted, states=_STATES)]


def is_in_order(way: IndexPath, wanted: JobFilter) -> bool:
    """Whether the index has the jobs that a probe is for in the order of their ids."""
    return way.kind in ("state", "all") or (in_lanes(wanted) and way.kind != "ended")


def in_lanes(wanted: JobFilter) -> bool:
    """Whether each tenant is probed by itself."""
    return wanted.tenants is not None and len(wanted.tenants) <= _LANES
