"""`gateway demo`: a full run, from request to verified webhook, that checks its own result."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich_click import RichCommand

from gateway.cli.api.connection import open_async_client
from gateway.cli.dev.command import FAILURES, run_with_signals
from gateway.cli.dev.machine import Machine, MachineOptions
from gateway.cli.terminal.table import width_of_output
from gateway.core.text.printable import printable

_JOBS_PER_TENANT = 20
_LONGEST_SECONDS = 45
_LOOK_AGAIN_SECONDS = 0.1
_INTERRUPTED = 130
_WIDTH_IN_A_PIPE = 240
_WORKFLOWS = (
    "music-ai/stems-vocals-accompaniment",
    "music-ai/generate-chords",
    "music-ai/isolate-drums",
    "audio-encoder",
)
# Which job of every tenant fails, and how: the upstream's three codes and an unknown one.
_FAILURES = {3: "BAD_INPUT", 8: "TIMEOUT", 13: "INTERNAL_ERROR", 18: "QUANTUM_FLUX"}
_FINISHED = ("job.succeeded", "job.failed")


class DemoFailedError(Exception):
    """The run did not end as planned; the text names every deviation."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected end of an accepted job: the code of its error, None for success."""

    tenant: str
    error: str | None


@click.command(cls=RichCommand)
def demo() -> None:
    """Run 60 jobs of three tenants through a temporary gateway.

    The exit status is 0 only if every job ended as planned and every webhook was verified.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    folder.chmod(0o711)  # run by root, Postgres has another user, who must enter the folder
    try:
        finished = asyncio.run(run_with_signals(MachineOptions(folder=folder), _run))
    except (*FAILURES, DemoFailedError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        shutil.rmtree(folder)
    if not finished:
        raise click.exceptions.Exit(_INTERRUPTED)


async def _run(machine: Machine) -> None:
    console, facts, began = _console(), machine.facts, time.monotonic()
    async with open_async_client(facts["api"], seconds=30) as client:
        try:
            jobs = await _submit_all(client, facts["tenants"])
            console.print(f"{len(jobs)} jobs accepted in {time.monotonic() - began:.1f} s")
            received = await _follow(client, facts["receiver"], jobs, console)
            listed = await _get(client, "/v1/job?size=1000", facts["serviceKey"])
            judge(jobs, listed, received)
            await _show(client, facts, next(iter(_failed(listed))), console)
        except (DemoFailedError, httpx.HTTPError) as error:
            raise DemoFailedError(f"{error}\n{machine.log_tails()}") from error
    seconds = time.monotonic() - began
    console.print(f"[green]All {len(jobs)} jobs ended as planned in {seconds:.1f} s.")


def _console() -> Console:
    """Return a console; in a pipe it is wide enough that no line is wrapped."""
    return Console(width=None if width_of_output() else _WIDTH_IN_A_PIPE)


def _orders(tenant: str) -> Iterator[tuple[dict[str, Any], Expected]]:
    """Yield the requests of one tenant, each with its expected end."""
    for number in range(_JOBS_PER_TENANT):
        error = _FAILURES.get(number)
        script: dict[str, Any] = {"queueSeconds": 0.1, "runSeconds": [0.3, 1.5]}
        if error is not None:
            script |= {"outcome": "FAILED", "errorCode": error}
        yield (
            {
                "name": f"{tenant} {number + 1}",
                "workflow": _WORKFLOWS[number % len(_WORKFLOWS)],
                "params": {"inputUrl": "https://example.com/song.mp3", "simulate": script},
                "metadata": {"number": str(number + 1)},
            },
            Expected(tenant, error),
        )


async def _submit_all(
    client: httpx.AsyncClient, tenants: Sequence[Mapping[str, str]]
) -> dict[str, Expected]:
    """Submit all jobs at once; returns the expected ends by job id."""
    orders = [
        (tenant["accessKey"], *order) for tenant in tenants for order in _orders(tenant["slug"])
    ]

    async def submit(key: str, body: object, expected: Expected) -> tuple[str, Expected]:
        answer = await client.post("/v1/job", json=body, headers={"Authorization": key})
        if not answer.is_success:
            raise DemoFailedError(f"POST /v1/job answered {answer.status_code}: {answer.text}")
        return answer.json()["id"], expected

    return dict(await asyncio.gather(*(submit(*order) for order in orders)))


async def _get(client: httpx.AsyncClient, path: str, key: str) -> Any:  # noqa: ANN401 - JSON
    answer = await client.get(path, headers={"Authorization": key})
    if not answer.is_success:
        raise DemoFailedError(f"GET {path} answered {answer.status_code}: {answer.text}")
    return answer.json()


async def _follow(
    client: httpx.AsyncClient, receiver: str, jobs: Mapping[str, Expected], console: Console
) -> list[dict[str, Any]]:
    """Print webhooks as they arrive, until each job has a verified one for its end."""
    waiting, received = set(jobs), list[dict[str, Any]]()
    bar = Progress(
        *(TextColumn("webhooks verified"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        console=console,
    )
    end = time.monotonic() + _LONGEST_SECONDS
    with bar:
        task = bar.add_task("", total=len(jobs))
        while waiting and time.monotonic() < end:
            after = received[-1]["seq"] if received else 0
            new = (await client.get(f"{receiver}/received", params={"after": after})).json()
            for one in new:
                if one["type"] in _FINISHED and one["verified"]:
                    waiting.discard(one["jobId"])
                    bar.console.print(_line(one, jobs))
            received += new
            bar.update(task, completed=len(jobs) - len(waiting))
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return received


def _line(one: Mapping[str, Any], jobs: Mapping[str, Expected]) -> str:
    job = one["body"]["data"]
    tenant = jobs[one["jobId"]].tenant
    how = f"[red]{_plain(job['error']['code'])}" if job["error"] else "[green]succeeded"
    place = f"{tenant:8} {_plain(_short(job['workflow'])):27} {how}"
    return f"[dim]webhook ...{_plain(one['webhookId'][-12:])} verified[/] {place}"


def _plain(text: str) -> str:
    return escape(printable(text))


def _mean(times: Mapping[str, float] | None) -> str:
    return f"{times['mean']:.2f}" if times else "-"


def _short(workflow: str) -> str:
    return workflow.rpartition("/")[2]


def judge(
    jobs: Mapping[str, Expected],
    listed: Sequence[Mapping[str, Any]],
    received: Sequence[Mapping[str, Any]],
) -> None:
    """Raise DemoFailedError unless all jobs and webhooks are as planned."""
    wrong = [
        f"webhook {one['webhookId']} for {one['path']} was refused: {one['reason']}"
        for one in received
        if not one["verified"]
    ]
    notified = {one["jobId"] for one in received if one["verified"] and one["type"] in _FINISHED}
    ends = {job["id"]: job for job in listed}
    for job_id, expected in jobs.items():
        if job_id not in notified:
            wrong.append(f"no verified webhook for the end of job {job_id}")
        job = ends.get(job_id, {"status": "missing", "error": None})
        wanted = ("FAILED", expected.error) if expected.error else ("SUCCEEDED", None)
        ended = (job["status"], job["error"] and job["error"]["code"])
        if ended != wanted:
            wrong.append(f"job {job_id} ended as {ended}, not as {wanted}")
    if wrong:
        raise DemoFailedError("\n".join(wrong))


def _failed(listed: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (job for job in listed if job["status"] == "FAILED")


async def _show(
    client: httpx.AsyncClient, facts: Mapping[str, Any], job: Mapping[str, Any], console: Console
) -> None:
    key = next(
        tenant["accessKey"]
        for tenant in facts["tenants"]
        if tenant["slug"] == job["gateway"]["tenant"]
    )
    timeline = await _get(client, f"/v1/job/{job['id']}/event", key)
    steps = Table("at", "what happened", title=f"The timeline of job {job['id']}")
    for step in timeline:
        steps.add_row(step["at"], _plain(step["text"]))
    console.print(steps)
    usage = await _get(client, "/v1/usage?groupBy=tenant,workflow,status", facts["serviceKey"])
    names = ("tenant", "workflow", "status", "jobs", "mean wait s", "mean run s")
    groups = Table(*names, title="Usage")
    for row in usage["rows"]:
        wait, run = (_mean(row[name]) for name in ("queueWaitSeconds", "runSeconds"))
        what = (row["tenant"], _plain(_short(row["workflow"])), row["status"], str(row["jobs"]))
        groups.add_row(*what, wait, run)
    console.print(groups)
