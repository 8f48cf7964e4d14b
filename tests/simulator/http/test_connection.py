import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from gateway.simulator.http.connection import FLOOD_PIECE
from gateway.simulator.server import Simulator
from tests.simulator.driver import KEY, Driver
from tests.simulator.process import make_certificate

REQUEST = f"GET /v1/application HTTP/1.1\r\nHost: x\r\nAuthorization: {KEY}\r\n\r\n".encode()

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def streams(simulator: Simulator) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.api.port)
    yield reader, writer
    writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


async def test_requests_in_one_segment_are_answered_in_order(streams: Streams) -> None:
    reader, writer = streams
    writer.write(REQUEST + REQUEST.replace(b"application", b"workflow") + REQUEST)

    bodies = [(await read_answer(reader))[1] for _ in range(3)]

    assert bodies[0] == bodies[2] != bodies[1]


async def test_a_delayed_answer_holds_those_behind_it(driver: Driver, streams: Streams) -> None:
    await driver.fault({"type": "delay", "seconds": 0.1}, match={"route": "application"}, times=1)
    reader, writer = streams
    writer.write(REQUEST + REQUEST.replace(b"application", b"workflow"))

    assert b'"name"' in (await read_answer(reader))[1]
    assert b'"workflows"' in (await read_answer(reader))[1]


async def test_a_body_may_come_in_pieces_after_continue(streams: Streams) -> None:
    reader, writer = streams
    body = b'{"name": "a", "workflow": "audio-encoder", "params": {}}'
    head = f"POST /v1/job HTTP/1.1\r\nAuthorization: {KEY}\r\nExpect: 100-continue\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    for place in range(0, len(body), 10):
        writer.write(body[place : place + 10])
        await asyncio.sleep(0)

    head, answer = await read_answer(reader)

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"id"' in answer


async def test_the_connection_closes_when_asked(streams: Streams) -> None:
    reader, writer = streams
    writer.write(REQUEST.replace(b"Host: x", b"Connection: close"))

    await read_answer(reader)

    assert await reader.read() == b""


async def test_what_is_not_http_is_refused(streams: Streams) -> None:
    reader, writer = streams
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")

    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_a_reset_comes_after_the_request_was_read(driver: Driver, streams: Streams) -> None:
    await driver.fault("reset")
    reader, writer = streams
    writer.write(REQUEST)

    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_a_close_is_an_orderly_end_without_an_answer(
    driver: Driver, streams: Streams
) -> None:
    await driver.fault("close")
    reader, writer = streams
    writer.write(REQUEST)

    assert await reader.read() == b""


async def test_accept_then_close(driver: Driver, simulator: Simulator) -> None:
    await driver.fault("acceptClose", times=1)

    first, second = [
        await asyncio.open_connection("127.0.0.1", simulator.api.port) for _ in range(2)
    ]
    assert await first[0].read() == b""
    second[1].write(REQUEST)
    assert (await read_answer(second[0]))[0].startswith(b"HTTP/1.1 200")
    first[1].close()
    second[1].close()


async def test_a_hang_says_nothing_until_the_client_leaves(driver: Driver) -> None:
    await driver.fault("hang", times=1)

    with pytest.raises(httpx.ReadTimeout):
        await driver.call("GET", "/job", timeout=0.2)

    assert (await driver.call("GET", "/job")).status_code == 200


async def test_a_hang_may_end_in_a_reset(driver: Driver, streams: Streams) -> None:
    await driver.fault({"type": "hang", "seconds": 0.05})
    reader, writer = streams
    writer.write(REQUEST)

    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_a_cut_answer_ends_in_its_middle(driver: Driver, streams: Streams) -> None:
    await driver.fault("cut")
    reader, writer = streams
    writer.write(REQUEST)

    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(int(head.split(b"Content-Length: ")[1]))


@pytest.mark.parametrize("part", ["headers", "body"])
async def test_a_drip_brings_the_whole_answer_in_pieces(
    driver: Driver, streams: Streams, part: str
) -> None:
    await driver.fault({"type": "drip", "bytes": 20, "seconds": 0.03, "part": part})
    reader, writer = streams
    writer.write(REQUEST)

    pieces = [await reader.read(4096)]
    whole = b"".join(pieces)
    while not whole.endswith(b"}"):
        pieces.append(await reader.read(4096))
        whole = b"".join(pieces)

    assert len(pieces) > 1
    assert (b"\r\n\r\n" in pieces[0]) == (part == "body")
    assert b'"name":"Acme"' in whole


async def test_a_flood_waits_for_a_slow_reader(driver: Driver, streams: Streams) -> None:
    size = 400 * len(FLOOD_PIECE)
    await driver.fault({"type": "respond", "status": 200, "body": "huge", "bytes": size})
    reader, writer = streams
    writer.write(REQUEST)
    await asyncio.sleep(0.1)

    head = await reader.readuntil(b"\r\n\r\n")

    assert b"Content-Length: %d\r\n" % size in head
    assert len(await reader.readexactly(size)) == size


async def test_a_restart_refuses_then_serves_on_the_same_port(
    driver: Driver, simulator: Simulator
) -> None:
    job_id = await driver.submit()
    await driver.control("/restart", {"downSeconds": 3600})
    with pytest.raises(httpx.ConnectError):
        await call_until_refused(driver)

    async with httpx.AsyncClient(base_url=simulator.files.base, verify=False) as files:
        answer = await files.post("/_control/restart", json={"downSeconds": 0})
        assert answer.status_code == 200

    assert await until_up(driver) == [job_id]


async def call_until_refused(driver: Driver) -> None:
    """Calls on; a connection that was open when the port went down is reset first."""
    while True:
        with suppress(httpx.ReadError, httpx.RemoteProtocolError):
            await driver.call("GET", "/job")


async def until_up(driver: Driver) -> list[str]:
    while True:
        try:
            return await driver.ids()
        except httpx.TransportError:
            await asyncio.sleep(0.01)


async def test_a_restart_may_lose_all_jobs(driver: Driver) -> None:
    job_id = await driver.submit()
    await driver.control("/restart", {"jobs": "vanish"})

    assert await until_up(driver) == []
    await asyncio.sleep(0.1)  # the connections are reset a moment after the answer
    await until_up(driver)
    assert (await driver.call("GET", f"/job/{job_id}")).status_code == 404


async def test_tls_is_for_files_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    certificate = make_certificate(tmp_path_factory.mktemp("tls"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate.server)
    trust = ssl.create_default_context(cafile=certificate.authority)
    simulator = Simulator(files_tls=server)
    await simulator.start()
    async with httpx.AsyncClient(verify=trust) as http:
        url = (
            await http.get(f"{simulator.api.base}/v1/upload", headers={"Authorization": KEY})
        ).json()["uploadUrl"]

        assert url.startswith("https://")
        assert (await http.put(url, content=b"x")).status_code == 200
    await simulator.stop()
