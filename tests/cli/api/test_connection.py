"""Proxies and certificates of the environment: never for loopback, and one line where they are useless."""

import asyncio
import json
import socket
import threading

import pytest

from gateway.cli.api.connection import is_here, open_async_client
from gateway.cli.terminal.failures import CommandError
from tests.cli.commands import call
from tests.cli.conftest import USELESS, Running

ELSEWHERE = {"GATEWAY_API": "http://gateway.example.com", "GATEWAY_ACCESS_KEY": "jgw_x"}


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *((host, True) for host in ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1")),
        ("0.0.0.0", True),
        *((host, False) for host in ("example.com", "10.0.0.1", "localhost.example.com", "")),
    ],
)
def test_hosts_of_this_machine(host: str, here: bool) -> None:
    assert is_here(host) is here


def test_loopback_is_reached_directly(running: Running) -> None:
    port = running.facts["api"].rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        env = {**running.tenant, **USELESS, "GATEWAY_API": f"http://{host}:{port}"}
        result = call("job", "list", "--json", env=env)
        assert result.exit_code == 0, result.stderr
        assert isinstance(json.loads(result.stdout), list)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "SOCKS"),
        ("HTTP_PROXY", "gopher://127.0.0.1:9", "gopher"),
        ("SSL_CERT_FILE", "/nonexistent", "No such file"),
        ("SSL_CERT_FILE", __file__, ""),
    ],
)
def test_an_unusable_proxy_or_certificate_is_one_line(name: str, value: str, why: str) -> None:
    for command in (("job", "list"), ("event", "follow")):
        result = call(*command, env={**ELSEWHERE, name: value})
        assert result.exit_code == 2
        line = result.stderr.splitlines()[0]
        assert line.startswith("Error: the proxy or certificate settings in the environment")
        assert why in line
        assert "SSL_CERT_FILE" in result.stderr.splitlines()[1]


def test_others_are_asked_through_the_proxy(unused_tcp_port: int) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def answer() -> None:
            connection, _ = proxy.accept()
            asked.append(connection.recv(1000))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        at = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        result = call("job", "list", "--json", env={**ELSEWHERE, "HTTP_PROXY": at})
        thread.join()
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert asked[0].startswith(b"GET http://gateway.example.com/v1/job")
    spared = {**ELSEWHERE, "HTTP_PROXY": at, "NO_PROXY": "gateway.example.com"}
    assert call("job", "list", env=spared).exit_code == 7


def test_a_malformed_address() -> None:
    async def make() -> None:
        open_async_client("ftp://127.0.0.1")

    with pytest.raises(CommandError, match="must be http://host"):
        asyncio.run(make())
