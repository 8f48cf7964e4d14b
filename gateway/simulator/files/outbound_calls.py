"""Outbound calls of the simulator: copies of results to callers' URLs, and input checks."""

import asyncio
from collections.abc import Coroutine
from typing import cast
from urllib.parse import SplitResult, urlsplit

from gateway.simulator.api.job_json import outputs
from gateway.simulator.files.inputs import http_urls
from gateway.simulator.files.media import content
from gateway.simulator.jobs.table import SimulatedJob
from gateway.simulator.state import State

TIMEOUT_SECONDS = 10.0


class OutboundCalls:
    """Runs each call as a task and records its result in the job table."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._tasks: set[asyncio.Task[None]] = set()

    def start_all(self) -> None:
        state = self._state
        while state.jobs.to_copy:
            self._start(self._copy(state.jobs.to_copy.popleft()))
        while state.to_probe:
            self._start(self._probe(state.to_probe.popleft()))

    def _start(self, call: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _copy(self, job: SimulatedJob) -> None:
        """Copy the results; one failed target fails the job, unless the settings allow it."""
        results = [await _call("PUT", url, *file) for url, file in _files_to_copy(job)]
        state = self._state
        if not self._exists(job):
            return
        behaviour = state.layers.resolve(job.application.key, job.workflow.slug)
        ok = all(results) or behaviour.copy_failure == "succeed"
        state.jobs.finish_copy(job, "SUCCEEDED" if ok else "FAILED", state.clock.now())

    def _exists(self, job: SimulatedJob) -> bool:
        """Return whether the job exists: not after its deletion or a reset."""
        return self._state.jobs.by_id.get(job.id) is job

    async def _probe(self, job: SimulatedJob) -> None:
        """Fail the job if an input URL outside our own file store cannot be read."""
        base = self._state.signer.base
        for url in http_urls(job.params):
            if not url.startswith(base) and not await _call("GET", url):
                if self._exists(job) and job.completed is None:
                    self._state.jobs.fail_input(job, self._state.clock.now())
                return


def _files_to_copy(job: SimulatedJob) -> list[tuple[str, tuple[bytes, str]]]:
    made = outputs(job)
    named = cast("dict[str, object]", made) if isinstance(made, dict) else {}
    return [
        (url, content(str(named[name]).removeprefix("file:")))
        for name, url in (job.copy_to or {}).items()
        if name in named
    ]


async def _call(method: str, url: str, body: bytes = b"", content_type: str = "") -> bool:
    """Return whether a 2xx response came in time; redirects are not followed."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            status = await _status(method, urlsplit(url), body, content_type)
    except (OSError, ValueError, IndexError):
        return False
    return 200 <= status < 300  # noqa: PLR2004 - the 2xx class


async def _status(method: str, url: SplitResult, body: bytes, content_type: str) -> int:
    is_tls = url.scheme == "https"
    port = url.port or (443 if is_tls else 80)
    reader, writer = await asyncio.open_connection(url.hostname, port, ssl=is_tls or None)
    try:
        target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {url.netloc}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return int((await reader.readline()).split(b" ")[1])
    finally:
        writer.close()
