"""Clients that the usual generators make of the document: they type-check, and their calls work."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from gateway.web.openapi.document import main_document
from tests.conftest import ROOT
from tests.web.conftest import World
from tests.web.live import live

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

_SOURCES = ROOT / "tests/clients"
_INSTALL_SECONDS = 300
_STEP_SECONDS = 240
# A generator that knows no NDJSON leaves out the response of this one call, and says so.
_LEFT_OUT = "/admin/v1/tenant/{slug}/export"


async def run(*command: str | Path, cwd: Path, seconds: float = _STEP_SECONDS, **more: str) -> str:
    """What a command prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, **more},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode()
    assert process.returncode == 0, f"{command}:\n{text}"
    return text


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(main_document()))
    return path


async def _installed(folder: Path) -> None:
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
        await run("npm", "ci", "--ignore-scripts", cwd=folder, seconds=_INSTALL_SECONDS)
    except (AssertionError, TimeoutError) as failed:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the packages cannot be fetched: {str(failed)[-300:]}")


async def test_typescript(world: World, tmp_path: Path, document: Path) -> None:
    slug = await world.tenant("types")
    await _installed(tmp_path)
    tools, generated = tmp_path / "node_modules/.bin", tmp_path / "generated"

    await run(tools / "openapi-typescript", document, "-o", generated / "schema.d.ts", cwd=tmp_path)
    await run(
        tools / "openapi-ts",
        cwd=tmp_path,
        OPENAPI_DOCUMENT=str(document),
        OPENAPI_OUTPUT=str(generated / "hey"),
    )
    await run(tools / "tsc", "-p", ".", cwd=tmp_path)

    async with live(world.deps) as port:
        for program in ("fetch", "hey"):
            script = tmp_path / f"built/src/{program}.js"
            address = f"http://127.0.0.1:{port}"
            told = await run("node", script, address, world.keys[slug], cwd=tmp_path)
            assert told == "ok\n"
    assert await world.count(slug) == 4


async def test_python(world: World, tmp_path: Path, document: Path) -> None:
    slug = await world.tenant("python")
    generator = Path(sys.executable).with_name("openapi-python-client")
    generated, program = tmp_path / "generated", tmp_path / "client.py"

    told = await run(
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
    told = await run(pyright, "--pythonpath", sys.executable, "-p", checked, cwd=tmp_path)
    assert "0 errors" in told

    async with live(world.deps) as port:
        address = f"http://127.0.0.1:{port}"
        told = await run(sys.executable, program, address, world.keys[slug], cwd=tmp_path)
    assert told == "ok\n"
    assert await world.count(slug) == 2
