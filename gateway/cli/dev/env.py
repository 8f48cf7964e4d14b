"""`gateway dev env`: print addresses and keys of a running `gateway dev` as shell variables."""

import os
import re
import shlex
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich_click import RichCommand

from gateway.cli.api.access import DATA_DIR, Facts, facts_of_dev
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import print_line, say

_SECONDS = 1.0
# PowerShell treats the four typographic quotes like the ASCII one: each ends a literal unless doubled.
_POWERSHELL_QUOTES = re.compile("['\u2018\u2019\u201a\u201b]")


def _posix(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}';"


def _powershell(name: str, value: str) -> str:
    quoted = _POWERSHELL_QUOTES.sub(r"\g<0>\g<0>", value)
    return f"$env:{name} = '{quoted}'"


_SHELLS: Mapping[str, Callable[[str, str], str]] = {
    "sh": _posix,
    "fish": _fish,
    "powershell": _powershell,
}


@click.command(cls=RichCommand)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Data folder of that `gateway dev`. Default: {DATA_DIR}.",
)
@click.option(
    "--tenant",
    metavar="SLUG",
    help="Tenant whose key and secret are printed. Default: the first one.",
)
@click.option(
    "--shell",
    type=click.Choice(list(_SHELLS)),
    help="Syntax of the output. Default: fish if $SHELL is fish, else sh, which suits bash and zsh.",
)
@click.pass_context
def env(
    ctx: click.Context, *, data_dir: Path | None, tenant: str | None, shell: str | None
) -> None:
    """Print the addresses and keys of a running `gateway dev`, for `eval "$(gateway dev env)"`.

    API, RECEIVER and SIMULATOR are addresses. KEY, SECRET and SLUG are the tenant's access key, signing
    secret and slug. SERVICE_KEY and OPERATOR_KEY are the other keys. GATEWAY_API, GATEWAY_ACCESS_KEY
    and GATEWAY_OPERATOR_KEY are for `gateway` itself, in any folder.
    """
    given: Path = ctx.parent.params["data_dir"] if ctx.parent else DATA_DIR
    facts = facts_of_dev(data_dir or given)
    write = _SHELLS[shell or _own_shell()]
    for name, value in _variables(facts, tenant).items():
        print_line(write(name, value))
    if not _answers(facts["api"]):
        say(f"Nothing answers at {facts['api']}: start `gateway dev`, then run this again.")


def _own_shell() -> str:
    return "fish" if Path(os.environ.get("SHELL", "")).name == "fish" else "sh"


def _variables(facts: Facts, slug: str | None) -> dict[str, str]:
    own = _of_tenant(facts, slug)
    key, operator = own.get("accessKey", ""), facts["operatorKey"]
    variables = {
        "API": facts["api"],
        "RECEIVER": facts["receiver"],
        "SIMULATOR": facts["simulator"] or "",
        "SLUG": own.get("slug", ""),
        "KEY": key,
        "SECRET": own.get("endpointSecret", ""),
        "SERVICE_KEY": facts["serviceKey"],
        "OPERATOR_KEY": operator,
        "GATEWAY_API": facts["api"],
        "GATEWAY_ACCESS_KEY": key,
        "GATEWAY_OPERATOR_KEY": operator,
    }
    return {name: value for name, value in variables.items() if value}


def _of_tenant(facts: Facts, slug: str | None) -> dict[str, str]:
    tenants: list[dict[str, str]] = facts["tenants"]
    for tenant in tenants:
        if slug in (None, tenant["slug"]):
            return tenant
    if slug is None:  # without the simulator there are no tenants
        return {}
    known = ", ".join(tenant["slug"] for tenant in tenants)
    raise CommandError(
        f"`gateway dev` has no key of {slug}", ExitCode.NOT_FOUND, f"It has: {known}"
    )


def _answers(root: str) -> bool:
    parts = urlsplit(root)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), _SECONDS).close()
    except OSError:
        return False
    return True
