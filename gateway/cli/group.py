"""The root command: imports only the command that runs, and reports its failure."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import click
from rich_click import RichCommand, RichGroup
from typing_extensions import override

from gateway.cli.terminal.exact_json import dumps
from gateway.cli.terminal.failures import CommandError, ExitCode, failure_of, problem_of
from gateway.config.environment import InvalidSettingsError
from gateway.core.text.printable import printable_json, printable_lines
from gateway.errors import GatewayError
from gateway.host.listening import CannotListenError

_JSON_OPTIONS = frozenset({"--json", "--ndjson"})
_JSON = "gateway.json"  # in the context: whether failures are to be JSON

_EXPECTED = (
    CommandError,
    GatewayError,
    CannotListenError,
    InvalidSettingsError,
    KeyboardInterrupt,
    click.ClickException,
    click.Abort,
)


class Lazy(NamedTuple):
    """A command that is imported when it runs: its location, `module:name` under `gateway.cli`, and help.

    `needs` names modules of the extra `embedded`; all others are always installed.
    """

    location: str
    help: str
    needs: tuple[str, ...] = ()


class LazyGroup(RichGroup):
    """A group that imports a command only when it is called."""

    lazy: Mapping[str, Lazy] = {}

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a stand-in with name and help, for lists and completion; it cannot run."""
        known = self.lazy.get(cmd_name)
        return None if known is None else RichCommand(name=cmd_name, help=known.help)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        wanted = args[0]
        if wanted not in self.lazy and not ctx.resilient_parsing and not wanted.startswith("-"):
            raise click.UsageError(_unknown(wanted, list(self.lazy)), ctx)
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and self.load(str(name)), rest

    def load(self, name: str) -> click.Command:
        """Import a command by its name; raises CommandError if it needs an extra that is not installed."""
        missing = [needed for needed in self.lazy[name].needs if find_spec(needed) is None]
        if missing:
            text = f"`gateway {name}` needs pip install 'job-gateway[embedded]'"
            raise CommandError(text, ExitCode.USAGE, f"Not installed: {', '.join(missing)}.")
        module, _, attribute = self.lazy[name].location.partition(":")
        return getattr(import_module(f"gateway.cli.{module}"), attribute)

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_JSON] = _wants_json(args)
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            self._report(ctx, error)
            raise

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _EXPECTED as error:
            self._report(ctx, error)
            raise

    def _report(self, ctx: click.Context, error: BaseException) -> None:
        """Print the failure and exit with its status; returns if only the help was asked for."""
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            return
        failure = failure_of(error)
        if failure.code is ExitCode.INTERRUPTED:
            click.echo(err=True)  # the user pressed Ctrl-C and needs no message
        elif ctx.meta[_JSON]:
            click.echo(printable_json(dumps(problem_of(failure), ensure_ascii=True)), err=True)
        else:
            if isinstance(error, click.UsageError) and error.ctx is not None:
                click.echo(_usage(error.ctx), err=True)
            message = printable_lines(failure.message)
            click.echo(f"{click.style('Error:', fg='red')} {message}", err=True)
            if failure.hint:
                click.echo(f"Hint: {printable_lines(failure.hint)}", err=True)
        raise click.exceptions.Exit(failure.code) from error


def _usage(ctx: click.Context) -> str:
    return " ".join(("Usage:", ctx.command_path, *ctx.command.collect_usage_pieces(ctx)))


def _unknown(wanted: str, known: Sequence[str]) -> str:
    near = get_close_matches(wanted, known)
    text = f"No such command '{wanted}'."
    if not near:
        return text
    return f"{text} Did you mean {' or '.join(map(repr, near))}?"


def _wants_json(args: Sequence[str]) -> bool:
    options = args[: args.index("--")] if "--" in args else args
    return not _JSON_OPTIONS.isdisjoint(options)
