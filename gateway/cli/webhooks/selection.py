"""The filter options for deliveries, shared by several commands."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import click

from gateway.cli.terminal.option_types import moment
from gateway.core.events import EVENT_TYPES
from gateway.core.model import DeliveryState

_STATES = tuple(state.value for state in DeliveryState)


class Selection(NamedTuple):
    """Filters for deliveries; an empty one matches all."""

    endpoint: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def fields(self) -> dict[str, object]:
        """Return the filters by the names of the API."""
        names = {"since": "createdAfter", "until": "createdBefore"}
        values: dict[str, object] = self._asdict()
        return {names.get(name, name): value for name, value in values.items() if value}


def with_selection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the filter options, and their values as its argument `selected`."""

    @click.option(
        "--endpoint", multiple=True, metavar="ID", help="Only deliveries to this endpoint."
    )
    @click.option(
        "--status",
        multiple=True,
        type=click.Choice(_STATES, case_sensitive=False),
        help="Only deliveries in this state.",
    )
    @click.option(
        "--event", multiple=True, type=click.Choice(EVENT_TYPES), help="Only events of this type."
    )
    @click.option("--job", multiple=True, metavar="ID", help="Only deliveries about this job.")
    @click.option(
        "--outcome", multiple=True, help="Outcome of the last attempt, such as timeout or http_5xx."
    )
    @click.option("--since", type=moment, help="Created at or after: 2h (ago), a date, or a time.")
    @click.option("--until", type=moment, help="Created before.")
    @functools.wraps(command)
    def wrapper(
        *arguments: object,
        endpoint: tuple[str, ...],
        status: tuple[str, ...],
        event: tuple[str, ...],
        job: tuple[str, ...],
        outcome: tuple[str, ...],
        since: str | None,
        until: str | None,
        **kwargs: object,
    ) -> None:
        selected = Selection(endpoint, status, event, job, outcome, since, until)
        command(*arguments, selected=selected, **kwargs)

    return wrapper
