"""The filter of jobs for lists, exports and bulk operations, and its conditions in SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.core.model import STATUS_STATES, TERMINAL
from gateway.core.uuid7 import first_id

# An id is made moments before Postgres sets `created_at`, by the clock of another machine of ours. The clock
# of the upstream, which reports when a job ended, may be further off.
OUR_CLOCKS = timedelta(minutes=1)
_UPSTREAM_CLOCK = timedelta(minutes=10)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = datetime.max.replace(tzinfo=UTC) - _MILLISECOND
FAILED = tuple(state.value for state in STATUS_STATES["FAILED"])  # only these have an error
_NO_STATE = ("none",)  # no job is in this state


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A filter of jobs. An empty tuple does not filter; tenants None means all."""

    tenants: tuple[UUID, ...] | None
    states: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    batch_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    error_codes: tuple[str, ...] = ()
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    completed_after: datetime | None = None
    completed_before: datetime | None = None
    ids: tuple[UUID, ...] = ()


def narrowed(wanted: JobFilter) -> JobFilter:
    """The same filter, with only the states that its other conditions allow."""
    if not wanted.states:
        return wanted
    possible = set(wanted.states)
    if wanted.error_codes:
        possible &= set(FAILED)
    if wanted.completed_after or wanted.completed_before:
        possible &= TERMINAL
    return replace(wanted, states=tuple(sorted(possible)) or _NO_STATE)


class Arguments(list[object]):
    """The arguments of a statement, collected while it is written."""

    def add(self, value: object, kind: str) -> str:
        """Add a value; returns its placeholder in the statement, with a cast to `kind`."""
        self.append(value)
        return f"${len(self)}::{kind}"


def conditions_of(wanted: JobFilter, arguments: Arguments) -> list[str]:
    """The conditions on a job `j`, except those on its tenant and on its deletion."""
    choices: list[tuple[str, Sequence[str]]] = [
        ("j.state", wanted.states),
        ("j.workflow", wanted.workflows),
        ("j.batch_name", wanted.batch_names),
        ("j.name", wanted.names),
        ("j.error->>'code'", wanted.error_codes),
    ]
    choices += [
        (f"j.metadata->>{arguments.add(key, 'text')}", values)
        for key, values in wanted.metadata
        if values
    ]
    times = [
        ("j.created_at >=", after_shown(wanted.created_after)),
        ("j.created_at <", before_shown(wanted.created_before)),
        ("j.completed_at >=", after_shown(wanted.completed_after)),
        ("j.completed_at <", before_shown(wanted.completed_before)),
    ]
    return [
        *([f"j.id = ANY({arguments.add(list(wanted.ids), 'uuid[]')})"] if wanted.ids else []),
        *(f"{field} = ANY({arguments.add(list(v), 'text[]')})" for field, v in choices if v),
        *(f"{field} {arguments.add(at, 'timestamptz')}" for field, at in times if at is not None),
    ]


def selects_all(wanted: JobFilter) -> bool:
    """Whether the filter selects all jobs of its tenants."""
    return not conditions_of(wanted, Arguments())


def after_shown(at: datetime | None) -> datetime | None:
    """The first instant that is displayed as later than `at`; times are displayed in whole milliseconds."""
    return at and _whole(min(at, _LATEST)) + _MILLISECOND


def before_shown(at: datetime | None) -> datetime | None:
    """The first instant that is not displayed as earlier than `at`."""
    return at and _whole(min(at, _LATEST) + _MILLISECOND - _MICROSECOND)


def _whole(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def labels_of(wanted: JobFilter) -> Iterator[tuple[tuple[str, ...], JobFilter]]:
    """For each condition that labels can answer: the labels, of which a job has one, and the other conditions.

    The function `job_label_texts` in the database makes the same texts.
    """
    choices = [
        ("name", wanted.names, replace(wanted, names=())),
        ("batch", wanted.batch_names, replace(wanted, batch_names=())),
        ("error", wanted.error_codes, replace(wanted, error_codes=())),
    ]
    for place, (key, values) in enumerate(wanted.metadata):
        others = wanted.metadata[:place] + wanted.metadata[place + 1 :]
        texts = tuple(f"{key}{value}" for value in values)
        choices.append((f"metadata:{len(key)}", texts, replace(wanted, metadata=others)))
    for kind, values, rest in choices:
        if values:
            yield tuple(f"{kind}:{value}" for value in values), rest


def id_bounds(wanted: JobFilter) -> tuple[UUID | None, UUID | None]:
    """The first id that a job with the times of the filter can have, and the id after the last one.

    The time of completion bounds the ids too, because no job ends before it is made. The times of each job
    must still be checked.
    """
    after, before, ended = wanted.created_after, wanted.created_before, wanted.completed_before
    ends = [first_id(before, OUR_CLOCKS)] if before else []
    ends += [first_id(ended, _UPSTREAM_CLOCK)] if ended else []
    return first_id(after, -OUR_CLOCKS) if after else None, min(ends, default=None)
