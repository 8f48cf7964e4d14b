"""Questions of commands at a terminal."""

import os
import pty
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.cli.commands import bare_environment, call
from tests.cli.conftest import Running


def at_terminal(typed: str, *arguments: str, env: Mapping[str, str]) -> tuple[int, str, str]:
    """The exit status, output and errors of a command whose questions are answered so."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-m", "gateway", *arguments),
        env={**bare_environment(), **env},
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        asked = b""
        while not asked.endswith(b": "):  # what was typed before is thrown away
            byte = process.stderr.read(1)
            assert byte, asked
            asked += byte
        os.write(master, typed.encode())
        output, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
        os.close(master)
        os.close(slave)
    return process.returncode, output.decode(), (asked + said).decode()


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 0), ("y", 0, 3)])
def test_destroying_is_confirmed(running: Running, answer: str, code: int, left: int) -> None:
    call("tenant", "create", "initrode", env=running.operator)
    arguments = ("tenant", "delete", "initrode", "--json")
    status, output, said = at_terminal(f"{answer}\n", *arguments, env=running.operator)
    assert status == code, said
    assert "Delete the tenant initrode" in said
    assert "Delete" not in output
    assert call("tenant", "get", "initrode", env=running.operator).exit_code == left


def test_the_key_for_the_upstream_is_asked_for_and_not_shown(running: Running) -> None:
    call("tenant", "create", "stark", env=running.operator)
    arguments = ("credential", "put", "stark")
    status, output, said = at_terminal("sim-acme\n", *arguments, env=running.operator)
    assert status == 0, said
    assert "Key for the upstream" in said
    assert "sim-acme" not in output + said
