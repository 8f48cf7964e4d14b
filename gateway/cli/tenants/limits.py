"""The options for a tenant's limits, shared by `create` and `update`."""

import functools
from collections.abc import Callable

import click

_DEFAULT = "default"
# The option, the field of the API, and what it caps.
_LIMITS = (
    ("--max-queued", "maxQueued", "Most jobs that may wait."),
    ("--max-in-flight", "maxInFlight", "Most jobs in flight upstream."),
    ("--max-rate", "maxRate", "Most requests per second."),
    ("--max-endpoints", "maxEndpoints", "Most webhook endpoints."),
    ("--keep-payloads-days", "keepPayloadsDays", "How long params, results and bodies are kept."),
    ("--keep-jobs-days", "keepJobsDays", "How long jobs that have ended are kept."),
    ("--keep-attempts-days", "keepAttemptsDays", "How long attempts of deliveries are kept."),
    ("--keep-events-days", "keepEventsDays", "How long events and deliveries are kept."),
)


def _number_from(least: int) -> Callable[[str], int | str]:
    def number(value: str) -> int | str:
        if value == _DEFAULT:
            return value
        if not value.isdecimal() or int(value) < least:
            raise click.BadParameter(f"must be a whole number, at least {least}, or '{_DEFAULT}'.")
        return int(value)

    return number


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and the given ones as its argument `limits`; None resets to the default."""

    @functools.wraps(command)
    def wrapper(*arguments: object, **kwargs: object) -> None:
        values = {field: kwargs.pop(_name(option)) for option, field, _ in _LIMITS}
        given = {field: value for field, value in values.items() if value is not None}
        limits = {field: None if value == _DEFAULT else value for field, value in given.items()}
        command(*arguments, limits=limits, **kwargs)

    decorated: Callable[..., None] = wrapper
    for option, _, words in reversed(_LIMITS):
        metavar, least = ("DAYS", 0) if option.endswith("days") else ("N", 1)
        help_ = f"{words} 'default' is the gateway's own{'' if least else ', 0 keeps it forever'}."
        given = click.option(option, type=_number_from(least), metavar=metavar, help=help_)
        decorated = given(decorated)
    return decorated


def _name(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
