"""Ports for parts: free, and none that others are given meanwhile."""

import socket

import pytest

from gateway.embedded import free_port, part
from gateway.embedded.part import PartFailedError

_LINUX_GIVES_FROM = 32_768


def test_a_port_is_none_that_a_connection_may_be_given() -> None:
    assert all(1024 <= free_port() < _LINUX_GIVES_FROM for _ in range(50))


def test_a_port_is_one_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(part, "_PORTS", range(port, port + 1))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        with pytest.raises(PartFailedError, match="no free TCP port"):
            free_port()
    assert free_port() == port
