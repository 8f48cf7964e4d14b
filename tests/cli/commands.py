"""Commands as a user runs them: in this process where that is enough, else in one of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping

from click.testing import CliRunner, Result

from gateway.cli import cli

MASTER_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def bare_environment() -> dict[str, str]:
    """This process's environment without what is meant for a gateway, or for its terminal."""
    return {name: value for name, value in os.environ.items() if not _is_ours(name)}


def _is_ours(name: str) -> bool:
    return name.startswith("GATEWAY_") or name == "COLUMNS"


def settings_for(database_url: str, redis_url: str = "redis://127.0.0.1:1") -> dict[str, str]:
    """All that has to be set."""
    return {
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_REDIS_URL": redis_url,
        "GATEWAY_MASTER_KEY": MASTER_KEY,
    }


def call(*arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Result:
    """Run a command in this process, with nothing of a gateway in its environment but `env`."""
    ours = {name: None for name in os.environ if _is_ours(name)}
    result = CliRunner().invoke(cli, arguments, input=stdin, env={**ours, **(env or {})})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `gateway` in a process of its own."""
    return subprocess.run(
        (sys.executable, "-m", "gateway", *arguments),
        env={**bare_environment(), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
