"""The root command: every command is found, described and fails in the same way."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from typing_extensions import override

from gateway import __version__
from gateway.cli import cli
from gateway.cli.group import Lazy, LazyGroup
from gateway.cli.terminal.failures import CommandError, ExitCode, code_of_status
from gateway.errors import Conflict, NotFound, RateLimited, Unauthorized, Unavailable
from tests.cli.commands import bare_environment, call, run, settings_for

DESTRUCTIVE = [("tenant", "delete"), ("endpoint", "delete"), ("job", "delete"), ("key", "revoke")]


@pytest.mark.parametrize("name", list(cli.lazy))
def test_the_list_says_what_the_command_says(name: str) -> None:
    command = cli.load(name)
    assert (command.help or "").partition("\n\n")[0].replace("\n", " ") == cli.lazy[name].help


@pytest.mark.parametrize("name", list(cli.lazy))
def test_help(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"gateway {name}" in result.stdout or f"cli {name}" in result.stdout


def test_version() -> None:
    done = run("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_the_installed_script_is_the_same() -> None:
    script = Path(sys.executable).with_name("gateway")
    assert subprocess.run((script, "version"), capture_output=True, check=True).stdout


def test_completion_knows_the_commands() -> None:
    env = {**bare_environment(), "_GATEWAY_COMPLETE": "bash_complete", "COMP_WORDS": "gateway te", "COMP_CWORD": "1"}  # fmt: skip
    script = Path(sys.executable).with_name("gateway")
    done = subprocess.run((script,), env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,tenant\n"
    env["COMP_WORDS"], env["COMP_CWORD"] = "gateway tenant su", "2"
    done = subprocess.run((script,), env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,suspend\n"


def test_a_command_that_does_not_exist() -> None:
    result = call("fly")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No such command 'fly'" in result.stderr


@pytest.mark.parametrize("words", DESTRUCTIVE)
def test_destroying_asks_first(words: tuple[str, str]) -> None:
    env = {
        **settings_for("postgresql://u:p@127.0.0.1:1/x"),
        "GATEWAY_API": "http://127.0.0.1:1",
        "GATEWAY_OPERATOR_KEY": "k",
        "GATEWAY_ACCESS_KEY": "k",
    }
    result = call(*words, "x", env=env)
    assert (result.exit_code, "Use --yes" in result.stderr) == (2, True)


@click.command()
@click.argument("kind")
def fail(kind: str) -> None:
    errors = {
        "known": CommandError("went wrong", ExitCode.TIMED_OUT, "Mend it."),
        "missing": NotFound("There is nothing."),
        "key": Unauthorized("Who are you?"),
        "conflict": Conflict("No."),
        "busy": RateLimited("Slow down."),
        "away": Unavailable("Away."),
        "interrupted": KeyboardInterrupt(),
        "click": click.ClickException("As another command says it."),
    }
    raise errors[kind]


class OneCommand(LazyGroup):
    @override
    def load(self, name: str) -> click.Command:
        return fail


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("known", 9, "Error: went wrong\nHint: Mend it.\n"),
        ("missing", 3, "Error: There is nothing. (NOT_FOUND)\n"),
        ("key", 4, "Error: Who are you? (UNAUTHORIZED)\n"),
        ("conflict", 5, "Error: No. (CONFLICT)\n"),
        ("busy", 6, "Error: Slow down. (RATE_LIMITED)\n"),
        ("away", 7, "Error: Away. (UNAVAILABLE)\n"),
        ("interrupted", 130, "\n"),
        ("click", 1, "Error: As another command says it.\n"),
    ],
)
def test_failures_are_a_line_a_hint_and_a_status(kind: str, code: int, said: str) -> None:
    group = OneCommand(name="group")
    group.lazy = {"fail": Lazy("", "")}
    result = CliRunner().invoke(group, ["fail", kind])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 4), (403, 4), (404, 3), (405, 1), (409, 5), (413, 2), (422, 5), (429, 6),
     (500, 7), (503, 7), (504, 7)],
)  # fmt: skip
def test_statuses_of_http(status: int, code: int) -> None:
    assert code_of_status(status) == code
