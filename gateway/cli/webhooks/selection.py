"""The options that select deliveries, alike for every command that has them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import click

from gateway.cli.terminal.option_types import moment
from gateway.core.events import EVENT_TYPES
from gateway.core.model import DeliveryState

_STATES = tuple(state.value for state in DeliveryState)


class Selection(NamedTuple):
    """Which deliveries; what is empty does not select."""

    endpoint: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def fields(self) -> dict[str, object]:
        """What selects, as the API names it."""
        names = {"since": "createdAfter", "until": "createdBefore"}
        values: dict[str, object] = self._asdict()
        return {names.get(name, name): value for name, value in values.items() if value}


def with_selection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and what they select as its argument `selected`."""

    @click.option("--endpoint", multiple=True, metavar="ID", help="To this endpoint.")
    @click.option(
        "--status",
        multiple=True,
        type=click.Choice(_STATES, case_sensitive=False),
        help="In this state.",
    )
    @click.option("--event", multiple=True, type=click.Choice(EVENT_TYPES), help="Of this type.")
    @click.option("--job", multiple=True, metavar="ID", help="Caused by this job.")
    @click.option(
        "--outcome", multiple=True, help="Of the last attempt, such as timeout or http_5xx."
    )
    @click.option("--since", type=moment, help="Made since then: 2h ago, a date, or a time.")
    @click.option("--until", type=moment, help="Made before then.")
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
