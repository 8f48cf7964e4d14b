"""`gateway secret`: the master keys, straight in the database."""

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
    """See which master keys are needed, and seal anew.

    Needs the settings of a worker. Keys are shown by an id that tells nothing of them.
    """


@secret.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show each master key, what it still seals, and whether it may be dropped.

    Rank 1 seals what is new. Ends with 5 when a key is missing.
    """
    found = _run(lambda deps: master_keys.uses(deps.db, deps.cipher))
    show([_row(use) for use in found], as_json=as_json, columns=_COLUMNS)
    missing = [use for use in found if use.rank is None]
    if missing:
        raise CommandError(
            f"the key {missing[0].id} is missing: what it seals cannot be opened",
            ExitCode.CONFLICT,
            "Put it in GATEWAY_MASTER_KEY, behind the first. One that is lost: `gateway secret give-up`.",
        )


@secret.command()
@json_option
def reseal(*, as_json: bool) -> None:
    """Seal with the first master key whatever another one seals.

    The gateway may work meanwhile; ended and started again, it goes on where it was.
    """

    async def work(deps: Deps) -> tuple[Counter[str], Counter[str]]:
        done, unopened = Counter[str](), Counter[str]()
        async for batch in master_keys.reseal(deps):
            done[batch.kind] += batch.done
            unopened.update(batch.unopened)
            say(f"{done[batch.kind]} {batch.kind} sealed anew")
        return done, unopened

    done, unopened = _run(work)
    row = {shown: done[kind] for kind, shown in _KINDS.items()}
    if as_json:
        show({**row, "unopened": dict(unopened)}, as_json=True)
    elif not done and not unopened:
        say("Nothing to do: the first key seals everything.")
    if unopened:
        keys = ", ".join(f"{count} of key {key}" for key, count in sorted(unopened.items()))
        raise CommandError(f"could not be opened, and stay as they are: {keys}", ExitCode.CONFLICT)


@secret.command("give-up")
@click.argument("key", metavar="KEYID")
@yes_option
@json_option
def give_up(key: str, *, yes: bool, as_json: bool) -> None:
    """Empty whatever a lost master key seals, so that the gateway starts without it.

    Credentials have to be put anew and signing secrets rotated; until then what needs them waits.
    """
    number = _number(key)

    async def work(deps: Deps) -> dict[str, int]:
        if number in deps.cipher.numbers:
            raise CommandError(f"the key {key} is in GATEWAY_MASTER_KEY", ExitCode.CONFLICT)
        return await master_keys.give_up(deps.db, number)

    confirm(f"Give up for good what the key {key} seals?", yes=yes)
    done = _run(work)
    show([{shown: done[kind] for kind, shown in _KINDS.items()}], as_json=as_json)
    if not any(done.values()):
        say(f"Nothing was done: the key {key} seals nothing.")


def _number(key: str) -> bytes:
    try:
        number = bytes.fromhex(key)
    except ValueError:
        number = b""
    if len(number) != 4:  # noqa: PLR2004 - as many bytes as the number of a key has
        raise click.UsageError(f"'{key}' is no id of a key, such as `gateway secret status` shows.")
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
