"""`gateway dev`: the whole gateway on this machine until Ctrl-C."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import httpx
from rich_click import RichGroup

from gateway.cli.dev.env import env
from gateway.cli.dev.machine import Machine, MachineOptions, run_machine
from gateway.cli.dev.parts import PortTakenError
from gateway.cli.dev.seed import SeedError
from gateway.core.text.printable import printable
from gateway.embedded import FolderInUseError, PartFailedError

FAILURES = (
    FolderInUseError,
    PartFailedError,
    PermissionError,
    PortTakenError,
    SeedError,
    httpx.HTTPError,
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FIRST_JOB = """
Send a first job, then see its webhook:

  curl {api}/v1/job -H 'Authorization: {key}' -H 'Content-Type: application/json' \\
    -d '{{"name": "first", "workflow": "music-ai/generate-chords", "params": {{"inputUrl": "https://example.com/song.mp3"}}}}'
  curl {receiver}/received
"""


@click.group(cls=RichGroup, invoke_without_command=True)
@click.option(
    "--data-dir",
    default=".gateway",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for all data and logs.",
)
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the API; 0 takes a free one.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 32))
@click.option("--seed", default=0, show_default=True, help="Seed of the simulated upstream.")
@click.option("--no-simulator", is_flag=True, help="Use the upstream at GATEWAY_UPSTREAM_URL.")
@click.pass_context
def dev(
    ctx: click.Context,
    *,
    data_dir: Path,
    port: int,
    workers: int,
    seed: int,
    no_simulator: bool,
) -> None:
    """Run the whole gateway here: Postgres, Valkey, upstream simulator, receiver, API, workers.

    All data is in the data folder. Its dev.json has the addresses and keys, once everything is ready.
    Ctrl-C stops all parts in order; a second Ctrl-C kills them.
    """
    if ctx.invoked_subcommand is not None:
        return
    options = MachineOptions(
        folder=data_dir, port=port, workers=workers, simulator=not no_simulator, seed=seed
    )
    try:
        asyncio.run(run_with_signals(options, _serve))
    except FAILURES as error:
        raise click.ClickException(str(error)) from None


dev.add_command(env)


async def run_with_signals(
    options: MachineOptions, work: Callable[[Machine], Awaitable[None]]
) -> bool:
    """Start a machine, do the work, stop it; returns whether the work finished before a signal.

    The first signal stops the machine in order, the second one kills its parts.
    """
    loop = asyncio.get_running_loop()
    async with run_machine(options, say) as machine:
        working = asyncio.create_task(_start_and_work(machine, work))

        def end() -> None:
            if working.done() or working.cancelling():
                machine.kill()
            else:
                say("stopping; press Ctrl-C again to stop at once")
                working.cancel()

        for number in _SIGNALS:
            loop.add_signal_handler(number, end)
        await asyncio.wait((working,))
        if not working.cancelled():
            working.result()
        return not working.cancelled()


async def _start_and_work(machine: Machine, work: Callable[[Machine], Awaitable[None]]) -> None:
    await machine.start()
    await work(machine)


def say(line: str) -> None:
    """Print a progress line for people, to standard error."""
    click.secho(printable(line), dim=True, err=True)


async def _serve(machine: Machine) -> None:
    facts = machine.facts
    click.echo(f"API        {facts['api']}   (reference at /docs, OpenAPI at /schema/openapi.json)")
    click.echo(f"Console    {facts['dashboard']}   (sign in, once: {await machine.console_link()})")
    click.echo(f"Receiver   {facts['receiver']}/received")
    click.echo(f"Simulator  {facts['simulator'] or 'none'}")
    click.echo(f"Keys, logs {machine.folder}/dev.json, {machine.folder}/logs")
    if facts["tenants"]:
        key = facts["tenants"][0]["accessKey"]
        click.echo(_FIRST_JOB.format(api=facts["api"], key=key, receiver=facts["receiver"]))
    await asyncio.Event().wait()
