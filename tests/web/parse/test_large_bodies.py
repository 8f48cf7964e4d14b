"""Large bodies are parsed in another thread, while the event loop answers other requests."""

import asyncio
import gc
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.web.parse.json_body import read_body
from gateway.web.parse.json_objects import read_object
from gateway.web.parse.large_bodies import LARGE_BYTES, READER, read_large
from gateway.web.schemas.requests import JobIn
from tests.web.conftest import GOOD, World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SLOW_NUMBERS = f"[{','.join(['1e300'] * 10_000)}]"
_PATIENCE_SECONDS = 20.0


@contextmanager
def _busy_reader() -> Iterator[None]:
    """Keep the thread for large bodies busy within the block."""
    free = threading.Event()
    busy = READER.submit(free.wait, _PATIENCE_SECONDS)
    try:
        yield
        assert not busy.done(), "nothing within the block waited for the thread"
    finally:
        free.set()


def _body(**more: Any) -> str:
    return json.dumps({**GOOD, **more})


def _large(text: str) -> str:
    return text.replace('"params": {', f'"params": {{"numbers":{_SLOW_NUMBERS},')


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/job", _large(_body())),
        ("/v1/batch", f'{{"name":"b","jobs":[{_large(_body())}]}}'),
        ("/v1/batch", json.dumps({"name": "b", "jobs": [GOOD] * 400})),
    ],
)
async def test_a_large_body_does_not_delay_others(
    world: World, acme: str, path: str, content: str
) -> None:
    with _busy_reader():
        large = asyncio.create_task(
            world.call("POST", path, acme, content=content, headers={"Idempotency-Key": "k"})
        )
        small = await world.call("POST", "/v1/job", acme, content=_body())
        assert small.status_code == 200
        assert not large.done()

    assert (await large).status_code == 200


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("/v1/job", _large(_body(priority="high")), ["priority"]),
        ("/v1/job", _body(params={}, x="x" * LARGE_BYTES), ["x"]),
        ("/v1/delivery/resend", _body(x="x" * LARGE_BYTES), None),
        ("/v1/job/0193782e-7c00-7000-8000-000000000000/retry", _large(_body()), None),
    ],
)
async def test_a_large_wrong_body_does_not_delay_others(
    world: World, acme: str, path: str, content: str, named: list[str] | None
) -> None:
    with _busy_reader():
        large = asyncio.create_task(world.call("POST", path, acme, content=content))
        small = await world.call("POST", "/v1/job", acme, content=_body())
        assert small.status_code == 200
        assert not large.done()

    fields = fields_of(problem(await large, 400, "BAD_REQUEST"))
    assert named is None or fields == named


async def test_a_large_change_of_a_tenant_does_not_delay_others(world: World, acme: str) -> None:
    content = f'{{"metadata":{{"numbers":null{" " * LARGE_BYTES}}}}}'
    with _busy_reader():
        change = asyncio.create_task(
            world.call("PATCH", f"/admin/v1/tenant/{acme}", world.operator, content=content)
        )
        small = await world.call("POST", "/v1/job", acme, content=_body())
        assert small.status_code == 200
        assert not change.done()

    assert (await change).status_code == 200


async def test_errors_of_the_thread_are_raised() -> None:
    for size in (0, LARGE_BYTES + 1):
        with pytest.raises(ZeroDivisionError):
            await read_large(size, divmod, 1, 0)


async def test_only_large_bodies_go_to_the_thread() -> None:
    here = threading.get_ident()
    assert await read_large(LARGE_BYTES, threading.get_ident) == here
    assert await read_large(LARGE_BYTES + 1, threading.get_ident) != here


@pytest.mark.parametrize("text", ["[[]]", "[[],1e400]"])
async def test_the_garbage_collector_does_not_run_over_a_large_body(text: str) -> None:
    content = (
        _body(params={})
        .encode()
        .replace(b'"params": {}', b'"params": {"a":[%s]}' % b",".join([text.encode()] * 30_000))
    )

    def read() -> int:
        assert not gc.isenabled()
        return len(read_object("params", read_body(JobIn, content).params)[1])

    gc.collect()
    lists = _lists()
    if "1e400" in text:
        with pytest.raises(BadRequest, match="params: number out of range") as refused:
            await read_large(len(content), read)
        assert refused.value.__context__ is None
    else:
        assert await read_large(len(content), read) == 1
    assert gc.isenabled()
    assert _lists() < lists + 1_000


def _lists() -> int:
    return sum(type(one) is list for one in gc.get_objects())


async def test_a_disabled_garbage_collector_stays_disabled() -> None:
    gc.disable()
    try:
        await read_large(LARGE_BYTES + 1, list)
        assert not gc.isenabled()
    finally:
        gc.enable()
