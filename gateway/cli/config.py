"""`gateway config`: the settings as they are, as they should be, and what they mean."""

import os
from urllib.parse import urlsplit

import click
from pydantic import SecretStr
from rich_click import RichGroup

from gateway.cli.environment import settings_of_environment
from gateway.cli.output import json_option, say, show
from gateway.cli.settings_page import settings_page, written
from gateway.settings import PREFIX, Settings

_HIDDEN = "[hidden]"


@click.group(cls=RichGroup)
def config() -> None:
    """Look at the settings."""


@config.command(name="show")
@json_option
def show_(*, as_json: bool) -> None:
    """Print what is in force and where it came from; secrets are hidden."""
    settings = settings_of_environment()
    given = {name.upper() for name in os.environ}
    rows = [
        {
            "name": name,
            "value": _shown(getattr(settings, field)),
            "origin": "environment" if name in given else "default",
        }
        for field in Settings.model_fields
        for name in (PREFIX + field.upper(),)
    ]
    show(rows, as_json=as_json, columns=("name", "value", "origin"))


@config.command()
def validate() -> None:
    """Check the settings without starting anything; names all that is wrong with them."""
    settings_of_environment()
    say("The settings are valid.")


@config.command()
def docs() -> None:
    """Print the reference of all settings as Markdown."""
    click.echo(settings_page(), nl=False)


def _shown(value: object) -> str:
    return _address(value.get_secret_value()) if isinstance(value, SecretStr) else written(value)


def _address(secret: str) -> str:
    """The place that a URL names, without user, password and query; nothing of other secrets."""
    if "://" not in secret:
        return _HIDDEN
    parts = urlsplit(secret)
    user, at, host = parts.netloc.rpartition("@")
    hidden = f"{_HIDDEN}@" if user or at else ""
    return f"{parts.scheme}://{hidden}{host}{parts.path}"
