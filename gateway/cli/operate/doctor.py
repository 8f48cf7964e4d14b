"""`gateway doctor`: use every part once, say what is wrong and what to do, and collect a bundle."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click
from pydantic import SecretStr
from redis.asyncio import Redis
from rich_click import RichCommand

from gateway import log
from gateway.adapters.redis.client import LOST, connect
from gateway.adapters.redis.failure_causes import CLUSTER
from gateway.adapters.redis.failure_causes import diagnose as explain
from gateway.adapters.wakeups.redis_commands import pipelined, probe
from gateway.cli.operate.doctor_bundle import bundle_of
from gateway.cli.operate.load_settings import UNUSED_REDIS, settings_of_environment
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import (
    confirm,
    json_option,
    json_text,
    print_json,
    print_line,
    say,
    yes_option,
)
from gateway.config.environment import InvalidSettingsError
from gateway.config.redis_url import parse_redis_url
from gateway.core.diagnosis.findings import DoctorFinding, Level, doubtful, fine, wrong
from gateway.core.diagnosis.server import judge_latency
from gateway.flows.admin.doctor import diagnose
from gateway.runtime import open_deps
from gateway.settings import unknown_settings

Show = Callable[[DoctorFinding], None]

_MARKS = {Level.OK: "ok", Level.WARNING: "WARNING", Level.ERROR: "ERROR"}
_ROUND_TRIPS = 5
# By a mark of the cause, see adapters/redis/failure_causes.py.
_REDIS_ADVICE = (
    ("Redis Cluster", "Name another server: no process of the gateway starts with this one."),
    ("nothing listens", "Start Redis, or correct host and port in GATEWAY_REDIS_URL."),
    ("password", "Correct the password in GATEWAY_REDIS_URL, or set it in Redis again."),
    ("out of memory", "Raise maxmemory, or give the gateway a Redis of its own."),
    ("ACL", "Grant the rights that docs/redis.md lists."),
)
_STATUS = {Level.OK: ExitCode.OK, Level.WARNING: ExitCode.ERROR, Level.ERROR: ExitCode.UNREACHABLE}


@click.command(cls=RichCommand)
@json_option
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a file for a bug report. It is shown first; it holds no secret and no payload.",
)
@yes_option
def doctor(*, as_json: bool, bundle: Path | None, yes: bool) -> None:
    """Check Postgres, Redis, the upstream, keys, processes and queues, and say what to do.

    Needs the settings of a worker; run it where one runs. It changes nothing. The exit status is 1 after
    a warning, and 7 after an error.
    """
    log.configure("error", "console")
    show = None if as_json else _print
    findings, text = asyncio.run(_run(show, wants_bundle=bundle is not None))
    if as_json:
        print_json([_row(one) for one in findings], indent=2)
    if bundle is not None and text:
        _write(bundle, text, yes=yes)
    _end(findings)


async def _run(show: Show | None, *, wants_bundle: bool) -> tuple[list[DoctorFinding], str]:
    """Collect the findings, and the bundle; there is none if the settings are not valid."""
    findings: list[DoctorFinding] = []

    def add(finding: DoctorFinding) -> None:
        findings.append(finding)
        if show is not None:
            show(finding)

    for unknown in unknown_settings():
        add(doubtful("settings", unknown.text, "Correct its name, or drop it."))
    try:
        settings = settings_of_environment()
    except InvalidSettingsError as error:
        for line in str(error).splitlines():
            add(wrong("settings", f"{line}.", "Correct it; `gateway config docs` explains each."))
        return findings, ""
    add(fine("settings", "The settings are valid."))
    async for finding in _redis(settings.redis_url.get_secret_value()):
        add(finding)
    # Redis has been checked, and nothing below needs it: one that is unfit must not be in the way.
    without_redis = settings.model_copy(update={"redis_url": SecretStr(UNUSED_REDIS)})
    async with open_deps(without_redis, "gateway doctor") as deps:
        async for finding in diagnose(deps):
            add(finding)
        bundle = await bundle_of(deps, [_row(one) for one in findings]) if wants_bundle else {}
    return findings, json_text(bundle, 2)


async def _redis(url: str) -> AsyncIterator[DoctorFinding]:
    address, client = parse_redis_url(url), connect(url, Redis)
    try:
        await probe(client)
        yield fine("redis", f"{address}: {_mode(url)}; every command is allowed.")
        yield judge_latency("redis", min([await _ping(client) for _ in range(_ROUND_TRIPS)]))
        with suppress(*LOST):  # an ACL may forbid INFO, which nothing else needs
            (info,) = await pipelined(client, [("INFO", "server")])
            yield fine("redis", f"Version {_version(info)}.")
    except LOST as error:
        cause = await explain(error, address)
        yield wrong("redis", f"{address}: {cause}.", _redis_advice(cause))
    finally:
        await client.aclose()


def _redis_advice(cause: str) -> str:
    said = next((text for mark, text in _REDIS_ADVICE if mark in cause), "Check GATEWAY_REDIS_URL.")
    return said if cause == CLUSTER else f"{said} Work goes on meanwhile, a few seconds later."


def _mode(url: str) -> str:
    address = parse_redis_url(url)
    if address.master:
        return f"master {address.master} by {len(address.servers)} Sentinels"
    return "one server"


async def _ping(client: Redis) -> float:
    started = time.perf_counter()
    await pipelined(client, [("PING",)])
    return time.perf_counter() - started


def _version(info: dict[str, object] | bytes) -> object:
    if not isinstance(info, dict):
        return "unknown"
    return info.get("valkey_version") or info.get("redis_version")


def _print(finding: DoctorFinding) -> None:
    print_line(f"{_MARKS[finding.level]:<8} {finding.subject:<12} {finding.text}")
    if finding.advice and finding.level is not Level.OK:
        print_line(f"{'':<21} What to do: {finding.advice}")


def _row(finding: DoctorFinding) -> dict[str, object]:
    return {**asdict(finding), "level": finding.level.name.lower()}


def _write(file: Path, text: str, *, yes: bool) -> None:
    for line in text.splitlines():
        say(line)
    confirm(f"Write this to {file}?", yes=yes)
    file.write_text(f"{text}\n")
    say(f"Written: {file}")


def _end(findings: Sequence[DoctorFinding]) -> None:
    worst = max(one.level for one in findings)
    if worst is Level.OK:
        say("Everything is in order.")
        return
    counts = [sum(one.level is level for one in findings) for level in (Level.ERROR, Level.WARNING)]
    raise CommandError(f"errors: {counts[0]}, warnings: {counts[1]}", _STATUS[worst])
