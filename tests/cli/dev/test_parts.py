"""Addresses and environment of the parts of one machine."""

import base64
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.dev.parts import PortTakenError, Site, choose_site, make_environment

SITE = Site(*(f"http://127.0.0.1:{port}" for port in (1, 2, 3, 4)))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_taken_port_is_refused_by_name(tmp_path: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]

    with pytest.raises(PortTakenError, match=rf"Port {port} is taken .* with --port"):
        choose_site(tmp_path, port, simulator=True)


def test_parts_that_data_points_to_keep_their_address_while_it_is_free(
    tmp_path: Path, listener: socket.socket
) -> None:
    first = choose_site(tmp_path, 0, simulator=True)
    without = choose_site(tmp_path, 0, simulator=False)
    assert without == replace(first, api=without.api, simulator=None)

    (tmp_path / "ports/receiver").write_text(str(listener.getsockname()[1]))
    second = choose_site(tmp_path, 0, simulator=True)
    assert second.receiver != first.receiver
    assert (second.simulator, second.files) == (first.simulator, first.files)


def _environment(folder: Path, site: Site = SITE) -> dict[str, str]:
    return make_environment(folder, site, database="postgresql://db", redis="redis://r")


def test_the_machine_decides_what_its_parts_connect_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://production")
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "debug")
    monkeypatch.setenv("GATEWAY_DRAIN_SECONDS", "3")

    env = _environment(tmp_path)

    assert env["GATEWAY_DATABASE_URL"] == "postgresql://db"
    assert env["GATEWAY_UPSTREAM_URL"] == "http://127.0.0.1:3/v1"
    assert (env["GATEWAY_LOG_LEVEL"], env["GATEWAY_DRAIN_SECONDS"]) == ("debug", "3")
    assert env["PATH"] == os.environ["PATH"]


def test_without_a_simulator_the_upstream_is_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_UPSTREAM_URL", "https://upstream.example/v1")

    env = _environment(tmp_path, replace(SITE, simulator=None))

    assert env["GATEWAY_UPSTREAM_URL"] == "https://upstream.example/v1"


def test_the_master_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = _environment(tmp_path)["GATEWAY_MASTER_KEY"]

    assert len(base64.b64decode(key)) == 32
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600
    assert _environment(tmp_path)["GATEWAY_MASTER_KEY"] == key
