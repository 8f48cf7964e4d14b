"""The filter options for jobs, shared by several commands."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from gateway.cli.terminal.option_types import moment

STATUSES = ("QUEUED", "STARTED", "SUCCEEDED", "FAILED")

_TIMES = ("createdAfter", "createdBefore", "completedAfter", "completedBefore")


class JobSelection(NamedTuple):
    """Filters for jobs, by the names of the API; an empty one matches all."""

    lists: dict[str, list[str]]
    metadata: dict[str, list[str]]
    times: dict[str, str]

    def query(self) -> dict[str, Any]:
        """Return them as query parameters."""
        metadata = {f"metadata.{name}": values for name, values in self.metadata.items()}
        return {**self.lists, **metadata, **self.times}

    def fields(self) -> dict[str, Any]:
        """Return them as fields of a JSON body."""
        metadata = {"metadata": self.metadata} if self.metadata else {}
        return {**self.lists, **metadata, **self.times}


def with_job_selection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the filter options, and their values as its argument `selected`."""

    @click.option(
        "--status",
        multiple=True,
        type=click.Choice(STATUSES, case_sensitive=False),
        help="Only jobs in this status.",
    )
    @click.option("--workflow", multiple=True, help="Only jobs of this workflow.")
    @click.option("--batch", "--batch-name", multiple=True, help="Only jobs of this batch.")
    @click.option("--name", multiple=True, help="Only jobs with this name.")
    @click.option("--error-code", multiple=True, metavar="CODE", help="Only jobs with this error.")
    @click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="With this metadata.")
    @click.option("--since", type=moment, help="Accepted since: 2h, a date, or a time.")
    @click.option("--until", type=moment, help="Accepted before.")
    @click.option("--ended-since", type=moment, help="Ended at or after.")
    @click.option("--ended-until", type=moment, help="Ended before.")
    @functools.wraps(command)
    def wrapper(
        *arguments: object,
        status: tuple[str, ...],
        workflow: tuple[str, ...],
        batch: tuple[str, ...],
        name: tuple[str, ...],
        error_code: tuple[str, ...],
        metadata: tuple[str, ...],
        since: str | None,
        until: str | None,
        ended_since: str | None,
        ended_until: str | None,
        **kwargs: object,
    ) -> None:
        given = {
            "status": status,
            "workflow": workflow,
            "batchName": batch,
            "name": name,
            "errorCode": error_code,
        }
        lists = {field: list(values) for field, values in given.items() if values}
        bounds = zip(_TIMES, (since, until, ended_since, ended_until), strict=True)
        times = {field: at for field, at in bounds if at is not None}
        selected = JobSelection(lists, _by_key(metadata), times)
        command(*arguments, selected=selected, **kwargs)

    return wrapper


def _by_key(pairs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--metadata {pair!r} is not of the form KEY=VALUE.")
        found.setdefault(key, []).append(value)
    return found
