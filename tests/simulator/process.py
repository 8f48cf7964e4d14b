"""The simulator as a process of its own, with https file URLs where a test downloads by SDK."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Running:
    api: str
    files: str
    process: subprocess.Popen[str]


@dataclass(frozen=True)
class Certificate:
    """`server` is for `--files-certificate`, `authority` for REQUESTS_CA_BUNDLE."""

    server: Path
    authority: Path


def make_certificate(folder: Path) -> Certificate:
    authority = trustme.CA()
    certificate = Certificate(folder / "server.pem", folder / "authority.pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate.server))
    authority.cert_pem.write_to_path(str(certificate.authority))
    return certificate


@contextmanager
def running(*options: str, certificate: Certificate | None = None) -> Iterator[Running]:
    """Starts `python -m gateway.simulator`, waits for its line, ends it by SIGTERM."""
    command = [sys.executable, "-m", "gateway.simulator", *options]
    environment = dict(os.environ)
    if certificate is not None:
        command += ["--files-certificate", str(certificate.server)]
        environment["SSL_CERT_FILE"] = str(certificate.authority)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            addresses = json.loads(process.stdout.readline())
            yield Running(addresses["api"], addresses["files"], process)
        finally:
            process.terminate()
            process.wait(timeout=10)
