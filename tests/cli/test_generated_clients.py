"""Clients that the usual generators make of the document: they type-check, and work against `gateway dev`."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.cli.commands import call
from tests.cli.conftest import Running
from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(900)

_SOURCES = ROOT / "tests/clients"
_INSTALL_SECONDS = 300
_STEP_SECONDS = 240
# A generator that knows no NDJSON leaves out the response of this one call, and says so.
_LEFT_OUT = "/admin/v1/tenant/{slug}/export"
# It is queued upstream for as long as the tests run.
_BLOCKER = {
    "name": "blocker",
    "workflow": "music-ai/generate-chords",
    "params": {"simulate": {"queueSeconds": 3600}},
}


def run(*command: str | Path, cwd: Path, seconds: float = _STEP_SECONDS, **more: str) -> str:
    """Run a command, which must succeed, and return its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


class Client(NamedTuple):
    """A tenant of the running gateway whose jobs stay queued behind the first one."""

    api: str
    key: str

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": self.key}

    def jobs(self) -> list[str]:
        """The names of its jobs, but for the first."""
        found = httpx.get(f"{self.api}/v1/job", headers=self.headers).json()
        return [one["name"] for one in found if one["name"] != _BLOCKER["name"]]


@contextmanager
def made_for(running: Running, slug: str) -> Iterator[Client]:
    """A tenant whose only place upstream is taken, so that its jobs can be seen as they are made."""

    def made(*arguments: str, stdin: str = "") -> str:
        result = call(*arguments, env=running.operator, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        return result.stdout.strip()

    made("tenant", "create", slug, "--max-in-flight", "1")
    made("credential", "put", slug, stdin="sim-acme")
    client = Client(running.facts["api"], made("key", "create", "--tenant", slug, "--name", slug))
    answer = httpx.post(f"{client.api}/v1/job", json=_BLOCKER, headers=client.headers)
    path = f"{client.api}/v1/job/{answer.json()['id']}"
    end = time.monotonic() + 30
    while (told := httpx.get(path, headers=client.headers).json())["gateway"][
        "state"
    ] != "submitted":
        assert time.monotonic() < end, told
        time.sleep(0.05)
    yield client
    made("tenant", "delete", slug, "--yes")


@pytest.fixture(scope="module")
def document(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document as the gateway serves it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(httpx.get(f"{running.facts['api']}/schema/openapi.json").content)
    return path


def install(folder: Path) -> None:
    """Put the sources into a folder, with the pinned packages from the registry."""
    if shutil.which("npm") is None:
        pytest.skip("Node with npm is not installed")
    shutil.copytree(
        _SOURCES,
        folder,
        ignore=shutil.ignore_patterns("node_modules", "generated", "built"),
        dirs_exist_ok=True,
    )
    try:
        run("npm", "ci", "--ignore-scripts", cwd=folder, seconds=_INSTALL_SECONDS)
    except (AssertionError, subprocess.TimeoutExpired) as failed:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the packages cannot be fetched: {str(failed)[-300:]}")


def test_typescript(running: Running, tmp_path: Path, document: Path) -> None:
    install(tmp_path)
    tools, generated = tmp_path / "node_modules/.bin", tmp_path / "generated"

    run(tools / "openapi-typescript", document, "-o", generated / "schema.d.ts", cwd=tmp_path)
    run(
        tools / "openapi-ts",
        cwd=tmp_path,
        OPENAPI_DOCUMENT=str(document),
        OPENAPI_OUTPUT=str(generated / "hey"),
    )
    run(tools / "tsc", "-p", ".", cwd=tmp_path)

    with made_for(running, "typescript") as client:
        for program in ("fetch", "hey"):
            script = tmp_path / f"built/src/{program}.js"
            assert run("node", script, client.api, client.key, cwd=tmp_path) == "ok\n"
        assert sorted(client.jobs()) == ["one", "one", "three", "two"]


def test_python(running: Running, tmp_path: Path, document: Path) -> None:
    generator = Path(sys.executable).with_name("openapi-python-client")
    generated, program = tmp_path / "generated", tmp_path / "client.py"

    told = run(
        *(generator, "generate", "--meta", "none", "--path", document),
        *("--output-path", generated),
        cwd=tmp_path,
    )
    left_out = [line for line in told.splitlines() if line.startswith("WARNING parsing")]
    assert [_LEFT_OUT in line for line in left_out] == [True], told
    shutil.copy(_SOURCES / "src/client.py", program)
    checked = tmp_path / "pyrightconfig.json"
    checked.write_text(json.dumps({"include": ["."], "typeCheckingMode": "standard"}))
    pyright = Path(sys.executable).with_name("pyright")
    assert "0 errors" in run(pyright, "--pythonpath", sys.executable, "-p", checked, cwd=tmp_path)

    with made_for(running, "python") as client:
        assert run(sys.executable, program, client.api, client.key, cwd=tmp_path) == "ok\n"
        assert sorted(client.jobs()) == ["one", "two"]
