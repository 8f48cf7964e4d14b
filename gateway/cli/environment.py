"""The settings for a command, or its failure with all that is wrong with them."""

import base64
import os

from gateway.cli.failures import CommandError, ExitCode
from gateway.settings import InvalidSettingsError, Settings, load_settings

_HINT = "`gateway config docs` explains every setting."
_UNUSED = {
    "GATEWAY_REDIS_URL": "redis://unused",
    "GATEWAY_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
}


def settings_of_environment() -> Settings:
    """Read the environment; a failure names every faulty variable, one a line."""
    try:
        return load_settings()
    except InvalidSettingsError as invalid:
        raise CommandError(str(invalid), ExitCode.USAGE, _HINT) from None


def settings_of_database() -> Settings:
    """The settings of what only needs the database; nothing else has to be set."""
    for name, value in _UNUSED.items():
        os.environ.setdefault(name, value)
    return settings_of_environment()


def database_url() -> str:
    """Where the database is; nothing else has to be set."""
    return settings_of_database().database_url.get_secret_value()
