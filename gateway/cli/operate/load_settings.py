"""Load the settings for a command."""

import base64
import os

from gateway.settings import Settings, load_settings

UNUSED_REDIS = "redis://127.0.0.1:1"  # refused at once, without a DNS query
_UNUSED = {
    "GATEWAY_REDIS_URL": UNUSED_REDIS,
    "GATEWAY_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
}


def settings_of_environment() -> Settings:
    """Read the environment; raises InvalidSettingsError that names every faulty variable."""
    return load_settings()


def settings_of_database() -> Settings:
    """Read the settings for a command that needs only the database; others may be unset."""
    for name, value in _UNUSED.items():
        if f"{name}_FILE" not in os.environ:
            os.environ.setdefault(name, value)
    return settings_of_environment()


def database_url() -> str:
    """Return the database's URL; other settings may be unset."""
    return settings_of_database().database_url.get_secret_value()


def migration_url() -> str:
    """Return the address of the login that owns the tables; other settings may be unset."""
    settings = settings_of_database()
    own = settings.migration_database_url.get_secret_value()
    return own or settings.database_url.get_secret_value()
