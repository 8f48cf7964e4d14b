"""`gateway completion`: the script for completion in a shell."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete
from rich_click import RichCommand

from gateway.cli.terminal.output import write_text

_VARIABLE = "_GATEWAY_COMPLETE"
_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command(cls=RichCommand)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script for shell completion.

    For bash: `eval "$(gateway completion bash)"` in ~/.bashrc. For zsh the same in ~/.zshrc, after
    compinit. For fish: `gateway completion fish > ~/.config/fish/completions/gateway.fish`.
    """
    root = ctx.find_root()
    made = _SHELLS[shell](root.command, {}, "gateway", _VARIABLE)
    # Call the base class: `BashComplete.source` first runs bash to check its version.
    write_text(ShellComplete.source(made))
