"""`gateway console`: a one-time link into the console, for who has access to the database."""

import getpass

import click
from rich_click import RichGroup

from gateway.cli.terminal.output import json_option, print_line, say, show
from gateway.core.roles import Role


@click.group(cls=RichGroup)
def console() -> None:
    """Open the console in a browser."""


@console.command()
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.OPERATOR.value,
    show_default=True,
    help="What the session may do.",
)
@click.option("--name", help="Who signs in, for the audit log. Default: the user of this shell.")
@json_option
def link(*, role: str, name: str | None, as_json: bool) -> None:
    """Print a link that signs in once, within five minutes.

    It works directly in the database at GATEWAY_DATABASE_URL. Without GATEWAY_PUBLIC_URL the link is
    a path: put the address of the gateway in front.
    """
    from gateway.cli.keys.database import make_link  # noqa: PLC0415 - it is heavy

    url = make_link(name or _user(), Role(role))
    if as_json:
        show({"url": url, "role": role}, as_json=True)
        return
    print_line(url)
    say("The link works once, within five minutes.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return "cli"
