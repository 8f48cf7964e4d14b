"""`gateway secret`: the master keys, directly in the database."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from rich_click import RichGroup

from gateway import log
from gateway.cli.operate.load_settings import settings_of_environment
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import confirm, json_option, say, show, yes_option
from gateway.flows.admin import master_keys
from gateway.flows.admin.master_keys import KeyUse
from gateway.flows.deps import Deps
from gateway.runtime import open_deps

_COLUMNS = ("key", "rank", "credentials", "signingSecrets", "endpointHeaders", "advice")
_KINDS = {
    "credentials": "credentials",
    "signing secrets": "signingSecrets",
    "endpoint headers": "endpointHeaders",
}

T = TypeVar("T")


@click.group(cls=RichGroup)
def secret() -> None:
    """Check which master keys are in use, and re-encrypt secrets with the first.

    Needs the settings of a worker. Keys are shown by an id that reveals nothing about them.
    """


@secret.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show each master key, how many secrets it encrypts, and whether it may be removed.

    Rank 1 encrypts new secrets. The exit status is 5 if a key is missing.
    """
    found = _run(lambda deps: master_keys.uses(deps.db, deps.cipher))
    show([_row(use) for use in found], as_json=as_json, columns=_COLUMNS)
    missing = [use for use in found if use.rank is None]
    if missing:
        raise CommandError(
            f"the key {missing[0].id} is missing: its secrets cannot be decrypted",
            ExitCode.CONFLICT,
            "Add it to GATEWAY_MASTER_KEY, after the first. If it is lost: `gateway secret give-up`.",
        )


@secret.command()
@json_option
def reseal(*, as_json: bool) -> None:
    """Re-encrypt with the first master key all secrets of other keys.

    The gateway may run in the meantime. If it is interrupted, run it again: it continues.
    """

    async def work(deps: Deps) -> tuple[Counter[str], Counter[str]]:
        done, unopened = Counter[str](), Counter[str]()
        async for batch in master_keys.reseal(deps):
            done[batch.kind] += batch.done
            unopened.update(batch.unopened)
            say(f"{done[batch.kind]} {batch.kind} re-encrypted")
        return done, unopened

    done, unopened = _run(work)
    row = {shown: done[kind] for kind, shown in _KINDS.items()}
    if as_json:
        show({**row, "unopened": dict(unopened)}, as_json=True)
    elif not done and not unopened:
        say("Nothing to do: the first key encrypts everything.")
    if unopened:
        keys = ", ".join(f"{count} of key {key}" for key, count in sorted(unopened.items()))
        raise CommandError(f"could not be decrypted, and are unchanged: {keys}", ExitCode.CONFLICT)


@secret.command("give-up")
@click.argument("key", metavar="KEYID")
@yes_option
@json_option
def give_up(key: str, *, yes: bool, as_json: bool) -> None:
    """Delete the secrets of a lost master key, so that the gateway starts without it.

    Afterwards store the credentials again and rotate the signing secrets; jobs and deliveries that need
    them wait until then.
    """
    number = _number(key)

    async def work(deps: Deps) -> dict[str, int]:
        if number in deps.cipher.numbers:
            raise CommandError(f"the key {key} is in GATEWAY_MASTER_KEY", ExitCode.CONFLICT)
        return await master_keys.give_up(deps.db, number)

    confirm(f"Delete permanently all secrets of the key {key}?", yes=yes)
    done = _run(work)
    row = {shown: done[kind] for kind, shown in _KINDS.items()}
    show([row], as_json=as_json, columns=tuple(row))
    if not any(done.values()):
        say(f"Nothing was done: the key {key} encrypts nothing.")


def _number(key: str) -> bytes:
    try:
        number = bytes.fromhex(key)
    except ValueError:
        number = b""
    if len(number) != 4:  # noqa: PLR2004 - as many bytes as the number of a key has
        raise click.UsageError(f"'{key}' is not the id of a key: see `gateway secret status`.")
    return number


def _row(use: KeyUse) -> dict[str, object]:
    counts = {shown: use.counts.get(kind, 0) for kind, shown in _KINDS.items()}
    rank = None if use.rank is None else use.rank + 1
    return {"key": use.id, "rank": rank, **counts, "advice": use.advice}


def _run(work: Callable[[Deps], Awaitable[T]]) -> T:
    settings = settings_of_environment()
    log.configure("error", "console")

    async def run() -> T:
        async with open_deps(settings, "gateway secret") as deps:
            return await work(deps)

    return asyncio.run(run())
