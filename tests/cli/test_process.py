"""A command as a process: encodings, pipes, colours, interrupts, and missing extras."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.cli import cli
from tests.cli.commands import bare_environment, call, run
from tests.cli.conftest import Running
from tests.cli.test_job import WORKFLOW, script, shown

NAME = "🎵 Müller"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_any_encoding_of_the_terminal(running: Running, encoding: str) -> None:
    made = shown(running, "submit", WORKFLOW, "--name", NAME, "--params", script())["id"]
    env = {**running.tenant, "PYTHONIOENCODING": encoding}
    done = _raw("job", "get", made, env=env)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    wanted = NAME.encode(encoding, "backslashreplace")
    assert wanted in done.stdout
    listed = _raw("job", "get", made, "--json", env=env)
    assert json.loads(listed.stdout.decode(encoding))["name"] == NAME
    table = _raw("job", "list", "--limit", "3", "--csv", env={**env, "COLUMNS": "50"})
    assert table.returncode == 0


def _raw(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        (sys.executable, "-m", "gateway", *arguments),
        env={**bare_environment(), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_key_file_in_any_encoding(running: Running, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "key"
    file.write_text(running.facts["operatorKey"] + "\r\n", encoding=encoding)
    env = {"GATEWAY_API": running.facts["api"]}
    done = call("tenant", "get", "acme", "--key-file", str(file), env=env)
    assert done.exit_code == 0, done.stderr


def test_a_key_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\xc3\x28\xa0")
    env = {"GATEWAY_API": "http://127.0.0.1:1"}
    done = call("tenant", "list", "--key-file", str(file), env=env)
    assert (done.exit_code, done.stderr) == (2, f"Error: {file} is not text in UTF-8\n")


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m gateway config docs; echo $? >&2"
    done = subprocess.run(
        ("bash", "-c", f"({command}) | head -1"),
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "# Settings\n"
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize("command", [("event", "follow"), ("job", "wait", "{job}")])
def test_ctrl_c_is_quiet(running: Running, command: tuple[str, ...]) -> None:
    arguments = ("submit", WORKFLOW, "--name", "waited", "--params", script(runSeconds=600))
    job_id = shown(running, *arguments)["id"]
    words = [word.format(job=job_id) for word in command]
    process = subprocess.Popen(
        (sys.executable, "-m", "gateway", *words),
        env={**bare_environment(), **running.tenant},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(2)  # it has begun by then; where it has not, its imports are interrupted
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=30)
    call("job", "delete", job_id, "--yes", env=running.tenant)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "Error" not in said + output


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(*, no_color: str, coloured: bool) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-m", "gateway", "tenant", "list", "--api", "http://127.0.0.1:1"),
        env={**bare_environment(), "GATEWAY_OPERATOR_KEY": "k", "NO_COLOR": no_color},
        stderr=slave,
    )
    process.wait(60)
    os.close(slave)
    said = os.read(master, 4096)
    os.close(master)
    assert b"does not answer" in said
    assert (b"\x1b[" in said) is coloured


@pytest.mark.parametrize("name", ["dev", "demo"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.lazy, name, cli.lazy[name]._replace(needs=("json", "no_such_module")))
    for arguments in ((name,), (name, "--help"), (name, "-h")):
        done = call(*arguments)
        assert done.exit_code == 2
        assert "needs pip install 'job-gateway[embedded]'" in done.stderr
        assert "no_such_module" in done.stderr


def test_the_receiver_needs_no_extra() -> None:
    code = "import sys; sys.modules['psutil'] = None; from gateway.__main__ import main; sys.argv = ['gateway', 'receive', '--help']; main()"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_everywhere(option: str) -> None:
    for words in ((), ("job",), ("job", "list"), ("webhook", "recover"), ("dev", "env")):
        done = call(*words, option)
        assert (done.exit_code, "Usage" in done.stdout) == (0, True), words


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option: str) -> None:
    assert call(option).stdout == call("version").stdout


@pytest.mark.parametrize(
    ("words", "meant"),
    [(("jbo",), "job"), (("job", "lst"), "list"), (("webhook", "recovr"), "recover"),
     (("dev", "evn"), "env"), (("job", "list", "--stauts", "x"), "--status")],
)  # fmt: skip
def test_a_mistyped_command_gets_a_suggestion(words: tuple[str, ...], meant: str) -> None:
    done = call(*words)
    assert (done.exit_code, f"'{meant}'" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str) -> None:
    done = call("completion", shell)
    assert (done.exit_code, "_GATEWAY_COMPLETE" in done.stdout) == (0, True)


def test_completion_works_in_bash() -> None:
    folder = Path(sys.executable).parent
    line = (
        'eval "$(gateway completion bash)"; COMP_WORDS=(gateway job ret); COMP_CWORD=2; '
        '_gateway_completion gateway; echo "${COMPREPLY[@]}"'
    )
    env = {**bare_environment(), "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(("bash", "-c", line), env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "retry\n"


EVIL = "'; touch x; $(touch x) `touch x` \\"
QUOTES = "'\u2018\u2019\u201a\u201b"
HOSTILE = (
    *(EVIL, "\\", "\\'", "''", "'", "$HOME (touch x) {a,b} *", '"; touch x; "', "a b\\\\"),
    *("\u2019; touch x; \u2018", QUOTES, "\u2018\u2018", "%x% !x! ^&|<>", "Müller 🎵"),
)


def env_of(folder: Path, value: str, shell: str) -> str:
    """Return the output of `gateway dev env` if every key and name is this value."""
    tenant = dict.fromkeys(("slug", "accessKey", "endpointSecret"), value)
    facts = {"api": "http://127.0.0.1:1", "receiver": value, "simulator": None,
             "operatorKey": value, "serviceKey": value, "tenants": [tenant]}  # fmt: skip
    (folder / "dev.json").write_text(json.dumps(facts))
    printed = call("dev", "env", "--data-dir", str(folder), "--shell", shell)
    assert (printed.exit_code, "Nothing answers" in printed.stderr) == (0, True)
    return printed.stdout


class TestEnv:
    def test_a_shell_knows_all_of_it(self, running: Running) -> None:
        line = (
            f'eval "$({sys.executable} -m gateway dev env --data-dir {running.folder})"; '
            'echo "$API $KEY $SLUG $SECRET $RECEIVER $OPERATOR_KEY"; '
            f"{sys.executable} -m gateway tenant get acme --json"
        )
        done = subprocess.run(
            ("bash", "-euc", line), env=bare_environment(), capture_output=True, text=True,
            check=True, cwd="/",
        )  # fmt: skip
        first, _, rest = done.stdout.partition("\n")
        facts, own = running.facts, running.facts["tenants"][0]
        assert first.split() == [
            facts["api"], own["accessKey"], own["slug"], own["endpointSecret"],
            facts["receiver"], facts["operatorKey"],
        ]  # fmt: skip
        assert json.loads(rest)["slug"] == "acme"

    def test_quotes_are_safe(self, tmp_path: Path) -> None:
        printed = env_of(tmp_path, EVIL, "sh")
        done = subprocess.run(
            ("bash", "-c", f'{printed}\nprintf %s "$KEY"'),
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == EVIL
        assert not (tmp_path / "x").exists()

    @pytest.mark.parametrize("value", HOSTILE)
    def test_fish_reads_one_literal(self, tmp_path: Path, value: str) -> None:
        printed = env_of(tmp_path, value, "fish")
        # In single quotes fish knows two escapes: of the quote and of the backslash.
        quoted = re.search(r"^set -gx KEY '((?:[^'\\]|\\['\\])*)';$", printed, re.MULTILINE)
        assert quoted is not None, printed
        assert re.sub(r"\\(['\\])", r"\1", quoted[1]) == value

    @pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
    @pytest.mark.parametrize("value", HOSTILE)
    def test_fish_itself_sets_the_value(self, tmp_path: Path, value: str) -> None:
        done = subprocess.run(
            ("fish", "--no-config", "-c", "source -; printf %s $KEY"),
            cwd=tmp_path, input=env_of(tmp_path, value, "fish"), capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (value, "")
        assert not (tmp_path / "x").exists()

    @pytest.mark.parametrize("value", HOSTILE)
    def test_powershell_reads_one_literal(self, tmp_path: Path, value: str) -> None:
        printed = env_of(tmp_path, value, "powershell")
        # Each of five quotes ends a literal, unless a second one follows, which is then the text.
        grammar = f"^\\$env:KEY = '((?:[^{QUOTES}]|[{QUOTES}]{{2}})*)'$"
        quoted = re.search(grammar, printed, re.MULTILINE)
        assert quoted is not None, printed
        assert re.sub(f"[{QUOTES}]([{QUOTES}])", r"\1", quoted[1]) == value

    def test_nothing_runs(self, tmp_path: Path) -> None:
        done = call("dev", "env", "--data-dir", str(tmp_path))
        assert (done.exit_code, done.stdout) == (2, "")
        (tmp_path / "dev.json").write_text("{")
        assert "is damaged" in call("dev", "env", "--data-dir", str(tmp_path)).stderr

    def test_a_tenant_that_it_does_not_have(self, running: Running) -> None:
        done = call("dev", "env", "--data-dir", str(running.folder), "--tenant", "nobody")
        assert (done.exit_code, done.stdout) == (3, "")


class TestErrorsAsJson:
    def test_of_the_api(self, running: Running) -> None:
        done = call("tenant", "get", "nobody", "--json", env=running.operator)
        told = json.loads(done.stderr)
        assert (done.exit_code, done.stdout, told["exitStatus"]) == (3, "", 3)
        assert (told["status"], told["code"]) == (404, "NOT_FOUND")
        assert told["detail"] == told["message"]
        assert told["requestId"]

    def test_of_fields(self, running: Running) -> None:
        arguments = ("endpoint", "create", "ftp://x", "--event", "job.exploded", "--json")
        told = json.loads(call(*arguments, env=running.tenant).stderr)
        assert told["errors"][0]["field"].startswith("events")

    @pytest.mark.parametrize(
        "words", [("jbo",), ("--bad",), ("job", "get"), ("job", "list", "--limit", "x")]
    )
    def test_of_the_command_itself(self, words: tuple[str, ...]) -> None:
        done = call(*words, "--json")
        told = json.loads(done.stderr)
        assert (done.exit_code, told["code"], told["status"]) == (2, "USAGE", None)
        assert told["hint"]

    def test_of_a_server_that_is_not_there(self) -> None:
        env = {"GATEWAY_API": "http://127.0.0.1:1", "GATEWAY_ACCESS_KEY": "k"}
        told = json.loads(call("job", "list", "--ndjson", env=env).stderr)
        assert (told["code"], told["exitStatus"]) == ("UNREACHABLE", 7)

    def test_arguments_after_two_dashes_are_not_options(self) -> None:
        assert not run("job", "get", "--", "--json").stderr.startswith("{")
