"""`gateway usage`: the usage from the roll-ups."""

from datetime import datetime
from typing import Any

import click
from rich_click import RichCommand

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.terminal.option_types import comma_list, moment
from gateway.cli.terminal.output import print_table, show, write_text
from gateway.cli.terminal.table import Column

_GROUPS = ("tenant", "hour", "day", "month", "workflow", "status", "batch", "errorCode")
# Names may be shortened; a shortened time would be useless.
_LEAST = {"tenant": 8, "workflow": 12, "batch": 10, "errorCode": 10}
_FIGURES = (
    Column("jobs"),
    Column("succeeded", rank=8),
    Column("failed"),
    Column("failedByCode", least=14, title="FAILED_BY", rank=1),
    Column("retried", rank=2),
    Column("wait", title="WAIT_S", rank=3),
    Column("run", title="RUN_S", rank=4),
    Column("p95", title="RUN_P95_S", rank=5),
    Column("webhooks.delivered", title="WEBHOOKS", rank=6),
    Column("webhooks.failed", title="UNDELIVERED", rank=7),
)


def _groups(value: str) -> list[str]:
    found = comma_list(value)
    for name in found:
        if name not in _GROUPS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(_GROUPS)}.")
    return found


def _month(value: str) -> datetime:
    try:
        return datetime.strptime(f"{value}+0000", "%Y-%m%z")
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a month such as 2026-11.") from None


@click.command(cls=RichCommand)
@click.option(
    "--by", type=_groups, default="", metavar="GROUP,...", help=f"Group by {', '.join(_GROUPS)}."
)
@click.option("--since", type=moment, help="From this hour: 2h (ago), a date, or a time.")
@click.option("--until", type=moment, help="Up to this hour.")
@click.option("--month", type=_month, metavar="YYYY-MM", help="This month, in UTC.")
@click.option("--json", "form", flag_value="json", help="Print JSON; errors are JSON too.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@with_tenant
def usage(
    api: Api,
    *,
    by: list[str],
    since: str | None,
    until: str | None,
    month: datetime | None,
    form: str | None,
) -> None:
    """Report the usage: jobs that have ended, and their webhooks, by the hour in UTC.

    Times are in seconds: the mean wait before the submit, the mean run time, and its 95th percentile.
    A service key without --tenant reports all its tenants.
    """
    if month is not None:
        if since or until:
            raise click.UsageError("Use --month, or --since and --until.")
        since, until = month.isoformat(), _next_month(month).isoformat()
    given = {"groupBy": ",".join(by), "from": since, "to": until}
    params = {name: value for name, value in given.items() if value}
    if form == "csv":
        api.download("/v1/usage", _write, {**params, "format": "csv"})
        return
    found = api.call("GET", "/v1/usage", params=params)
    if form == "json":
        show(found, as_json=True)
    else:
        print_table([_row(one) for one in found["rows"]], (*map(_group_column, by), *_FIGURES))


def _group_column(name: str) -> Column:
    return Column(name, least=_LEAST.get(name))


def _write(piece: bytes) -> None:
    write_text(piece.decode())


def _next_month(month: datetime) -> datetime:
    year, number = divmod(month.year * 12 + month.month, 12)
    return month.replace(year=year, month=number + 1)


def _row(one: dict[str, Any]) -> dict[str, Any]:
    codes = " ".join(f"{code}={jobs}" for code, jobs in one["failedByCode"].items())
    seconds = {
        "wait": ("queueWaitSeconds", "mean"),
        "run": ("runSeconds", "mean"),
        "p95": ("runSeconds", "p95"),
    }
    times = {
        name: one[field] and round(one[field][part], 2) for name, (field, part) in seconds.items()
    }
    return {**one, **times, "failedByCode": codes or None}
