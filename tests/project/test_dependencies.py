"""What the gateway relies on in its dependencies beyond what they document.

A failure comes with an upgrade of a dependency. Its message names the module that relies on it and
says what to do. Reliance on arq is tested in tests/adapters/wakeups/test_arq_contract.py.
"""

import ast
import asyncio
import gc
import inspect
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import httpx
import msgspec
import pytest
from granian.server.embed import Server
from httpx_aiohttp import AiohttpTransport
from litestar import Litestar, get, post
from litestar.params import FromPath
from redis.asyncio.connection import RedisSSLContext, SSLConnection
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.adapters.musicai.http import NEVER_SENT
from tests.shared_pool import is_dropped_by_driver

# --- The upstream client: at most one upstream job per accepted job ---------------------------

SUBMIT = (
    "gateway/adapters/musicai/http.py takes the errors in NEVER_SENT as proof that no byte of a"
    " request was written, and a submit is then sent again."
)
# Where aiohttp raises the errors that we take for certain, each before it writes a request. Errors
# of redirects are never raised, because the transport follows none.
RAISED_IN = {
    ("client", "ClientSession._request", "InvalidUrlClientError"),
    ("client", "ClientSession._request", "NonHttpUrlClientError"),
    ("client", "ClientSession._request", "InvalidURL"),
    ("client", "ClientSession._request", "InvalidUrlRedirectClientError"),
    ("client", "ClientSession._request", "NonHttpUrlRedirectClientError"),
    ("client", "ClientSession._request._connect_and_send_request", "ConnectionTimeoutError"),
    ("client_reqrep", "ClientRequest.update_host", "InvalidURL"),
    ("connector", "TCPConnector._create_direct_connection", "ClientConnectorDNSError"),
    ("connector", "TCPConnector._resolve_host", "InvalidUrlClientError"),
    ("connector", "TCPConnector._start_tls_connection", "ClientConnectorCertificateError"),
    ("connector", "TCPConnector._start_tls_connection", "ClientConnectorSSLError"),
    ("connector", "TCPConnector._start_tls_connection", "client_error"),
    ("connector", "TCPConnector._wrap_create_connection", "ClientConnectorCertificateError"),
    ("connector", "TCPConnector._wrap_create_connection", "ClientConnectorSSLError"),
    ("connector", "TCPConnector._wrap_create_connection", "client_error"),
    ("connector", "TCPConnector._wrap_existing_connection", "ClientConnectorCertificateError"),
    ("connector", "TCPConnector._wrap_existing_connection", "ClientConnectorSSLError"),
    ("connector", "TCPConnector._wrap_existing_connection", "client_error"),
    ("connector", "UnixConnector._create_connection", "UnixClientConnectorError"),
    ("connector", "NamedPipeConnector._create_connection", "ClientConnectorError"),
}


def _with_subclasses(kinds: tuple[type[BaseException], ...]) -> set[str]:
    names: set[str] = set()
    for kind in kinds:
        names |= {kind.__name__} | _with_subclasses(tuple(kind.__subclasses__()))
    return names


def _raised(node: ast.AST, names: set[str], place: str = "") -> Iterator[tuple[str, str]]:
    """The functions of a module that raise one of the errors, and which."""
    for child in ast.iter_child_nodes(node):
        inner = place
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{place}.{child.name}".lstrip(".")
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            name = ast.unparse(child.exc.func).rpartition(".")[2]
            if name in names:
                yield place, name
        yield from _raised(child, names, inner)


def test_aiohttp_raises_its_connection_errors_only_before_it_writes() -> None:
    names = {*_with_subclasses(NEVER_SENT), "client_error"}
    folder = Path(inspect.getfile(aiohttp)).parent
    found = {
        (file.stem, *raised)
        for file in folder.glob("*.py")
        for raised in _raised(ast.parse(file.read_text()), names)
    }
    assert found == RAISED_IN, (
        f"{SUBMIT} aiohttp now raises them elsewhere, too: read those places. Where a part of the"
        " request may have been written, take the error out of NEVER_SENT. Then correct RAISED_IN."
    )


async def test_httpx_aiohttp_keeps_the_error_of_aiohttp_as_the_cause() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        transport = AiohttpTransport(client=aiohttp.ClientSession())
        request = httpx.Request("POST", f"http://127.0.0.1:{taken.getsockname()[1]}/job")
        with pytest.raises(httpx.TransportError) as raised:
            await transport.handle_async_request(request)
        await transport.aclose()
    assert isinstance(raised.value.__cause__, aiohttp.ClientConnectorError), (
        f"{SUBMIT} It finds the error of aiohttp in __cause__ of what httpx-aiohttp raises, and it is"
        " not there any more: change _busy_or_unknown."
    )


async def _read_then_abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


async def _read_then_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def _read_a_part_then_abort(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await reader.read(10)
    writer.transport.abort()


async def _answer_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example ESMTP\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    "act", [_read_then_abort, _read_then_close, _read_a_part_then_abort, _answer_no_http]
)
async def test_an_error_after_a_byte_was_written_is_none_of_those(act: Any) -> None:
    server = await asyncio.start_server(act, "127.0.0.1", 0)
    transport = AiohttpTransport(client=aiohttp.ClientSession())
    port = server.sockets[0].getsockname()[1]
    request = httpx.Request("POST", f"http://127.0.0.1:{port}/job", content=b"x" * 500_000)
    async with server:
        with pytest.raises((httpx.HTTPError, aiohttp.ClientError, OSError)) as raised:
            await transport.handle_async_request(request)
        await transport.aclose()
    cause = raised.value.__cause__ or raised.value
    assert not isinstance(cause, NEVER_SENT), f"{SUBMIT} {cause!r} proves nothing: take it out."


# --- Redis ------------------------------------------------------------------------------------


def test_redis_py_connects_with_the_ssl_context_that_it_is_given() -> None:
    connection: Any = SSLConnection(host="127.0.0.1", port=1)
    assert isinstance(connection.ssl_context, RedisSSLContext)
    ours = connection.ssl_context.context = ssl.create_default_context()
    assert connection.ssl_context.get() is ours, (
        "gateway/adapters/redis/client.py (_with_current_certificates) sets SSLConnection.ssl_context.context before it"
        " connects. redis-py ignores that now, so a private CA would not be the only one trusted and"
        " renewed certificates would not be read: find the new way to give it a context."
    )


def test_redis_py_asks_the_sentinels_that_it_is_given() -> None:
    told = (
        "gateway/adapters/redis/client.py (_master_pool, _MasterPool) replaces Sentinel.sentinels and"
        " closes them in SentinelConnectionPool.disconnect: do so in the way of this redis-py."
    )
    sentinels: Any = Sentinel([])
    assert sentinels.sentinels == [], told
    pool: Any = SentinelConnectionPool("master", sentinels)
    assert pool.sentinel_manager is sentinels, told
    assert "inuse_connections" in inspect.signature(pool.disconnect).parameters, told


# --- The API process --------------------------------------------------------------------------


def test_msgspec_names_the_place_of_a_fault() -> None:
    class Inner(msgspec.Struct):
        count: int

    class Outer(msgspec.Struct):
        inner: Inner

    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(b'{"inner":{"count":"x"}}', type=Outer)
    assert str(raised.value).endswith(" - at `$.inner.count`"), (
        "gateway/web/parse/json_body.py (_PLACE) reads the field's name out of msgspec's message, for"
        " faults that gateway/web/parse/type_errors.py does not find: change the pattern."
    )


def test_granians_embedded_server_takes_what_we_set() -> None:
    told = (
        "gateway/web/server.py runs granian.server.embed.Server, which its README calls experimental,"
        " in our own event loop: change _server and _drain, then run tests/web/test_server.py."
    )
    names = set(inspect.signature(Server).parameters)
    used = {"target", "address", "port", "interface", "http", "http1_settings", "websockets"}
    assert used | {"backlog", "backpressure", "log_enabled"} <= names, told
    assert inspect.iscoroutinefunction(Server.serve), told
    assert not inspect.iscoroutinefunction(Server.stop), told


async def test_litestar_refuses_trace_with_all_methods_and_names_the_route() -> None:
    told = (
        "gateway/web/front_door.py answers OPTIONS with the Allow of Litestar's 405 for TRACE, finds"
        " the route in scope['path_template'], and keeps its own object in scope['state']: change"
        " _ASKED_AS, report or _pass_on."
    )

    @get("/things/{thing:str}")
    async def read(thing: FromPath[str]) -> str:
        return thing

    @post("/things/{thing:str}")
    async def write(thing: FromPath[str]) -> str:
        return thing

    app: Any = Litestar([read, write], openapi_config=None)
    ours = object()

    async def ask(method: str) -> tuple[dict[str, Any], dict[str, Any]]:
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/things/a",
            "raw_path": b"/things/a",
            "root_path": "",
            "query_string": b"",
            "headers": [],
            "client": None,
            "server": None,
            "state": {"ours": ours},
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return scope, sent[0]

    scope, start = await ask("GET")
    assert start["status"] == 200
    assert scope["path_template"] == "/things/{thing}", told
    assert scope["state"]["ours"] is ours, told
    _, refused = await ask("TRACE")
    assert refused["status"] == 405, told
    allowed = dict(refused["headers"])[b"allow"].decode()
    assert {"GET", "POST"} <= set(allowed.replace(" ", "").split(",")), told


# --- The database -----------------------------------------------------------------------------


async def test_sqlalchemy_asks_nothing_when_it_takes_a_connection_back(postgres: str) -> None:
    told = (
        "gateway/store/database.py begins and ends transactions on asyncpg's own connection, beneath"
        " SQLAlchemy's adapter, which must not know of them: returning a connection then costs no"
        " round trip. That has changed: read _session and _transaction against this SQLAlchemy."
    )
    url = postgres.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    asked: list[str] = []
    connection = await engine.connect()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    with driver.query_logger(lambda query: asked.append(query.query)):
        await driver.execute("BEGIN; SELECT 1")
        await driver.execute("COMMIT;")
        await connection.close()
        again = await engine.connect()
        same: Any = (await again.get_raw_connection()).driver_connection
        assert same is driver, told
        await again.close()
    await engine.dispose()
    assert asked == ["BEGIN; SELECT 1", "COMMIT;"], told


async def test_asyncpg_abandons_a_future_of_a_connection_cancelled_as_it_opens(
    postgres: str,
) -> None:
    """Harmless: the tests of flows ignore it. Delete `is_dropped_by_driver` once this fails."""
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    for turns in range(12):
        connecting = asyncio.create_task(asyncpg.connect(postgres.replace("+asyncpg", "")))
        for _ in range(turns):
            await asyncio.sleep(0)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await asyncio.sleep(0.01)
        gc.collect()
    assert seen, "asyncpg mended it"
    assert all(is_dropped_by_driver(context) for context in seen)
