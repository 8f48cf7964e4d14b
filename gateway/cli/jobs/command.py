"""`gateway job`: jobs of a tenant, through the API."""

import time
from typing import Any
from urllib.parse import quote

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import LONGEST_WAIT_SECONDS, Api
from gateway.cli.api.lists import ListOptions, Source, listing_options, show_listing
from gateway.cli.bulk import Words, begin, operation_options
from gateway.cli.jobs.export import print_jobs_as_csv
from gateway.cli.jobs.selection import JobSelection, with_job_selection
from gateway.cli.jobs.show_job import show_job
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.option_types import duration, json_object, pairs
from gateway.cli.terminal.output import (
    confirm,
    json_option,
    pick,
    print_heading,
    print_line,
    print_table,
    say,
    show,
    yes_option,
)
from gateway.cli.terminal.table import Column
from gateway.core.explain.explanation import explain_deliveries, explain_job
from gateway.core.text.printable import printable

_ENDED = ("SUCCEEDED", "FAILED")
_COLUMNS = (
    Column("id"),
    Column("status"),
    Column("gateway.tenant", rank=4),
    Column("name", least=10, rank=2),
    Column("workflow", least=14, rank=5),
    Column("batchName", least=10, rank=7),
    Column("error.code", title="ERROR", rank=3),
    Column("message", least=11, rank=1),
    Column("createdAt", rank=6),
)
_TIMELINE = (
    Column("at"),
    Column("type", rank=1),
    Column("text", least=24, folds=True),
)
_UNDELIVERED = (
    Column("id"),
    Column("type", rank=2),
    Column("state"),
    Column("cause", least=16, rank=1),
    Column("whatToDo", title="WHAT_TO_DO", least=20, folds=True),
)
_PAUSE_SECONDS = 0.2
_JSON = "an object, @FILE, or - for standard input"

_id = click.argument("job_id", metavar="ID")
_timeout = click.option(
    "--timeout", type=duration, help="Longest time to wait, such as 15m. Default: no limit."
)


@click.group(cls=RichGroup)
def job() -> None:
    """Submit, follow, retry and cancel jobs.

    Needs a tenant's or a service's key in GATEWAY_ACCESS_KEY, and the root of the API in
    GATEWAY_API.
    """


@job.command(aliases=["create"])
@click.argument("workflow")
@click.option("--name", required=True, help="Name of the job.")
@click.option("--params", type=json_object, default="{}", metavar="JSON", help=f"Input: {_JSON}.")
@click.option(
    "--param", multiple=True, metavar="NAME=VALUE", help="A text field to add to the input."
)
@click.option("--metadata", type=json_object, metavar="JSON", help=f"Metadata of the job: {_JSON}.")
@click.option("--batch-name", help="Batch that the job belongs to.")
@click.option("--callback-url", help="URL that gets a webhook when the job ends.")
@click.option("--deadline", type=duration, help="Longest time the job may take, such as 2h.")
@click.option(
    "--priority", type=click.IntRange(0, 9), help="Jobs with a higher number are submitted first."
)
@click.option(
    "--idempotency-key", help="With the same key, a repeated command makes no second job."
)
@click.option("--wait", is_flag=True, help="Wait until the job ends.")
@_timeout
@with_tenant
@json_option
def submit(
    api: Api,
    *,
    params: dict[str, Any],
    param: tuple[str, ...],
    idempotency_key: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **fields: object,
) -> None:
    """Submit a job for a WORKFLOW and print its id; with --wait print the ended job."""
    names = {"batch_name": "batchName", "callback_url": "callbackUrl"}
    body = {names.get(name, name): value for name, value in fields.items() if value is not None}
    body["params"] = params | pairs(param)
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    made = api.call("POST", "/v1/job", body, headers=headers)
    if wait:
        _show_end(api, _await_end(api, made["id"], timeout), as_json=as_json)
    elif as_json:
        show(made, as_json=True)
    else:
        print_line(made["id"])


@job.command(name="list")
@with_job_selection
@listing_options
@with_tenant
def list_(api: Api, *, selected: JobSelection, wanted: ListOptions) -> None:
    """List jobs, newest first; repeat a filter to match any of its values."""
    if wanted.form == "csv" and wanted.cursor is None:
        print_jobs_as_csv(api, selected, wanted.limit)
    else:
        show_listing(
            api, Source("/v1/job", "jobs", selected.query()), wanted, _COLUMNS, _with_message
        )


def _with_message(found: dict[str, Any]) -> dict[str, Any]:
    """Add the reason why a job failed, or what it waits for."""
    text = pick(found, "error.message") or pick(found, "gateway.waitsFor.message")
    return {**found, "message": text}


@job.command()
@_id
@with_tenant
@json_option
def get(api: Api, *, job_id: str, as_json: bool) -> None:
    """Print a job: why it failed and what to do about it, its input and result, its webhooks."""
    _show(api, api.call("GET", _path(job_id)), as_json=as_json)


@job.command()
@_id
@_timeout
@with_tenant
@json_option
def wait(api: Api, *, job_id: str, timeout: float | None, as_json: bool) -> None:
    """Wait until a job ends and print it.

    The exit status is 8 if the job failed, and 9 if it did not end in time.
    """
    _show_end(api, _await_end(api, job_id, timeout), as_json=as_json)


@job.command()
@_id
@with_tenant
@json_option
def events(api: Api, *, job_id: str, as_json: bool) -> None:
    """Print the timeline of a job, with every attempt of its webhooks."""
    found = api.listed(f"{_path(job_id)}/event")
    show(found, as_json=as_json, columns=_TIMELINE)


@job.command()
@_id
@click.option("--payloads", is_flag=True, help="Also the input, the result and the metadata.")
@with_tenant
def bundle(api: Api, *, job_id: str, payloads: bool) -> None:
    """Print what explains a job as JSON without secrets, to send it to somebody else."""
    params = {"payloads": "true"} if payloads else {}
    show(api.call("GET", f"{_path(job_id)}/support-bundle", params=params), as_json=True)


@job.command()
@_id
@with_tenant
@json_option
def explain(api: Api, *, job_id: str, as_json: bool) -> None:
    """Say where a job stands, why, who has to act, and what to do; then its timeline."""
    found = explain_job(api.call("GET", _path(job_id)))
    undelivered = explain_deliveries(api.listed("/v1/delivery", params={"job": job_id}))
    timeline = api.listed(f"{_path(job_id)}/event")
    if as_json:
        rows = {"webhooks": undelivered, "timeline": timeline}
        show({**found.fields(), **rows}, as_json=True)
        return
    show(found.fields(), as_json=False)
    if undelivered:
        print_heading("Webhooks that were not delivered")
        print_table(undelivered, _UNDELIVERED)
    print_heading("Timeline")
    print_table(timeline, _TIMELINE)


@job.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@with_job_selection
@operation_options
@with_tenant
@json_option
def retry(
    api: Api,
    *,
    job_ids: tuple[str, ...],
    selected: JobSelection,
    as_json: bool,
    **options: bool,
) -> None:
    """Run jobs again: the named ones, or all failed ones that match the filters.

    Each becomes a new job with the same input. Use --status succeeded to repeat succeeded jobs instead.
    """
    if not _has_ids(job_ids, selected, options):
        body = {"filter": selected.fields()}
        words = Words("Run {} again?", "No failed job matches these filters", "job", "jobs")
        begin(api, "/v1/job/retry", body, words, as_json=as_json, **options)
        return
    made = [api.call("POST", f"{_path(one)}/retry") for one in job_ids]
    show(made, as_json=as_json, columns=("id", Column("retryOf", rank=1)))


@job.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@with_job_selection
@operation_options
@with_tenant
@json_option
def cancel(
    api: Api,
    *,
    job_ids: tuple[str, ...],
    selected: JobSelection,
    as_json: bool,
    **options: bool,
) -> None:
    """Delete jobs that have not ended: the named ones, or all that match the filters.

    A job that was not submitted yet is never submitted; any other is deleted upstream too.
    """
    if not _has_ids(job_ids, selected, options):
        body = {"filter": selected.fields()}
        words = Words("Cancel {}?", "No open job matches these filters", "job", "jobs")
        begin(api, "/v1/job/cancel", body, words, as_json=as_json, **options)
        return
    confirm(f"Cancel {len(job_ids)} jobs?", yes=options["yes"])
    show([_cancelled(api, one) for one in job_ids], as_json=as_json, columns=("id",))


def _has_ids(job_ids: tuple[str, ...], selected: JobSelection, options: dict[str, bool]) -> bool:
    """Whether jobs are named rather than filtered; raises UsageError if neither or both."""
    if bool(job_ids) == bool(selected.fields()):
        raise click.UsageError("Give either job IDs or at least one filter.")
    if job_ids and options["dry_run"]:
        raise click.UsageError("--dry-run works only with filters.")
    return bool(job_ids)


def _cancelled(api: Api, job_id: str) -> dict[str, Any]:
    status = api.call("GET", f"{_path(job_id)}/status")["status"]
    if status in _ENDED:
        hint = "`gateway job delete ID` deletes a job that has ended, too."
        raise CommandError(f"the job {job_id} has ended: {status}", ExitCode.CONFLICT, hint)
    return api.call("DELETE", _path(job_id))


@job.command()
@_id
@yes_option
@with_tenant
@json_option
def delete(api: Api, *, job_id: str, yes: bool, as_json: bool) -> None:
    """Delete a job, here and upstream; one that was not submitted yet is never submitted."""
    confirm(f"Delete the job {job_id}, here and upstream?", yes=yes)
    show(api.call("DELETE", _path(job_id)), as_json=as_json)


def _path(job_id: str) -> str:
    return f"/v1/job/{quote(job_id, safe='')}"


def _await_end(api: Api, job_id: str, timeout: float | None) -> dict[str, Any]:
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = LONGEST_WAIT_SECONDS if end is None else end - time.monotonic()
        step = round(min(max(left, 0.0), LONGEST_WAIT_SECONDS), 3)
        found = api.call("GET", _path(job_id), params={"wait": step})
        if found["status"] in _ENDED:
            return found
        if left <= 0:
            raise CommandError(
                f"the job {job_id} is still {found['status']}",
                ExitCode.TIMED_OUT,
                f"The job continues; `gateway job wait {job_id}` waits again.",
            )
        time.sleep(_PAUSE_SECONDS)  # a server that is stopping answers a long poll at once


def _show(api: Api, found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show(found, as_json=True)
    else:
        show_job(api, found)


def _show_end(api: Api, found: dict[str, Any], *, as_json: bool) -> None:
    _show(api, found, as_json=as_json)
    if found["status"] == "FAILED":
        error: dict[str, str] = found["error"]
        raise CommandError(
            printable(f"the job failed: {error['message']} ({error['code']})"),
            ExitCode.JOB_FAILED,
            f"`gateway job events {found['id']}` shows its timeline.",
        )
    say("The job succeeded.")
