"""Which jobs a list, an export or a bulk operation is about."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.core.model import STATUS_STATES, TERMINAL
from gateway.core.uuid7 import first_id

# An id is made moments before Postgres sets `created_at`, by another clock of ours. The upstream's,
# which may say when a job ended, can be further off.
OUR_CLOCKS = timedelta(minutes=1)
_ITS_CLOCK = timedelta(minutes=10)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = datetime.max.replace(tzinfo=UTC) - _MILLISECOND
FAILED = tuple(state.value for state in STATUS_STATES["FAILED"])  # which alone have an error
_NO_STATE = ("none",)  # which no job is in


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list of jobs shows; an empty tuple does not filter, tenants None means all."""

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


def narrowed(wanted: JobFilter) -> JobFilter:
    """The same jobs by those of the wanted states that they can be in."""
    if not wanted.states:
        return wanted
    possible = set(wanted.states)
    if wanted.error_codes:
        possible &= set(FAILED)
    if wanted.completed_after or wanted.completed_before:
        possible &= TERMINAL
    return replace(wanted, states=tuple(sorted(possible)) or _NO_STATE)


class Arguments(list[object]):
    """The arguments of a statement that is being written."""

    def add(self, value: object, kind: str) -> str:
        """Keep a value and name it for the statement."""
        self.append(value)
        return f"${len(self)}::{kind}"


def conditions_of(wanted: JobFilter, arguments: Arguments) -> list[str]:
    """What a job `j` has to fulfil, but for whose it is and that it is not deleted."""
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
        *(f"{of} = ANY({arguments.add(list(v), 'text[]')})" for of, v in choices if v),
        *(f"{of} {arguments.add(at, 'timestamptz')}" for of, at in times if at is not None),
    ]


def names_nothing(wanted: JobFilter) -> bool:
    """Whether all jobs of its tenants are meant."""
    return not conditions_of(wanted, Arguments())


def after_shown(at: datetime | None) -> datetime | None:
    """The first instant that is shown, cut to its millisecond, as later than a time."""
    return at and _whole(min(at, _LATEST)) + _MILLISECOND


def before_shown(at: datetime | None) -> datetime | None:
    """The first instant that is not shown as earlier than a time."""
    return at and _whole(min(at, _LATEST) + _MILLISECOND - _MICROSECOND)


def _whole(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def labels_of(wanted: JobFilter) -> Iterator[tuple[tuple[str, ...], JobFilter]]:
    """Labels of which jobs have one, and what each such choice leaves of the filter.

    The texts are those of the function `job_label_texts` in the database.
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
    """Ids between which, without the last, are all jobs of the times that a filter names.

    No job ends before it is made. Their own times remain to be looked at.
    """
    after, before, ended = wanted.created_after, wanted.created_before, wanted.completed_before
    ends = [first_id(before, OUR_CLOCKS)] if before else []
    ends += [first_id(ended, _ITS_CLOCK)] if ended else []
    return first_id(after, -OUR_CLOCKS) if after else None, min(ends, default=None)
