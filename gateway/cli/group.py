"""The root command: finds its commands by name, imports only the one that runs, reports failures."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click
from rich_click import RichCommand, RichGroup
from typing_extensions import override

from gateway.cli.failures import CommandError, ExitCode, from_gateway
from gateway.core.printable import printable_lines
from gateway.errors import GatewayError


class Lazy(NamedTuple):
    """Where a command is, as `module:name` under `gateway.cli`, and what the list says of it."""

    place: str
    help: str


class LazyGroup(RichGroup):
    """A group whose commands are imported once they are called."""

    lazy: Mapping[str, Lazy] = {}

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """What lists and completion need to know of a command; not for running it."""
        known = self.lazy.get(cmd_name)
        return None if known is None else RichCommand(name=cmd_name, help=known.help)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and self.load(str(name)), rest

    def load(self, name: str) -> click.Command:
        """Import a command by its name."""
        module, _, attribute = self.lazy[name].place.partition(":")
        return getattr(import_module(f"gateway.cli.{module}"), attribute)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError:
            raise  # shown with the usage of the command
        except (CommandError, GatewayError, KeyboardInterrupt, click.ClickException) as error:
            failure = _failure_of(error)
            message = printable_lines(failure.message)
            click.echo(f"{click.style('Error:', fg='red')} {message}", err=True)
            if failure.hint:
                click.echo(f"Hint: {printable_lines(failure.hint)}", err=True)
            raise click.exceptions.Exit(failure.code) from error


def _failure_of(error: BaseException) -> CommandError:
    match error:
        case CommandError():
            return error
        case GatewayError():
            return from_gateway(error)
        case click.ClickException():
            return CommandError(error.format_message(), ExitCode(error.exit_code))
        case _:
            return CommandError("interrupted", ExitCode.INTERRUPTED)
