"""A whole gateway for the commands that talk to one."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.commands import bare_environment
from tests.servers import make_folder

_SECONDS = 110  # a machine that is busy with other things takes long to start all of it
# What nobody may ask on this machine for what is on this machine.
USELESS = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "SSL_CERT_FILE": "/nonexistent",
}


class Running(NamedTuple):
    """A `gateway dev`: its data folder and what its dev.json says."""

    folder: Path
    facts: dict[str, Any]

    @property
    def operator(self) -> Mapping[str, str]:
        """The environment of an operator."""
        return {"GATEWAY_API": self.facts["api"], "GATEWAY_OPERATOR_KEY": self.facts["operatorKey"]}

    @property
    def tenant(self) -> Mapping[str, str]:
        """The environment of the first tenant."""
        key = self.facts["tenants"][0]["accessKey"]
        return {"GATEWAY_API": self.facts["api"], "GATEWAY_ACCESS_KEY": key}


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """One for all tests, which keep out of each other's way by names of their own."""
    folder = make_folder()
    folder.chmod(0o711)  # where root runs this, Postgres is another user that has to pass
    data = folder / "data"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            (sys.executable, "-m", "gateway", "dev", "--port=0", f"--data-dir={data}"),
            env={**bare_environment(), **USELESS},
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + _SECONDS
        while not (data / "dev.json").exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        yield Running(data, json.loads((data / "dev.json").read_text()))
    finally:
        process.terminate()
        process.wait(_SECONDS)
        shutil.rmtree(folder)
