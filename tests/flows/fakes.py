"""An upstream and a receiver that follow a script, and otherwise behave well."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from typing_extensions import override
from uuid_utils.compat import uuid7

from gateway.core.webhooks.receiver_probe import FoundAddresses, ReceiverProbe, TriedAddress
from gateway.flows.process.slots import Slots
from gateway.ports import (
    Absent,
    Access,
    Clock,
    Reply,
    SendFault,
    Submission,
    Submitted,
    Trouble,
    Unknown,
    Upload,
    UpstreamJob,
    UpstreamProblem,
    Verb,
    Webhook,
    Workflow,
)
from tests.fakes import FixedClock

PROBLEM = UpstreamProblem("BAD_INPUT", "Invalid input", "File not found.")


class StepClock(FixedClock):
    """The wall clock of the database, and a monotonic clock that only moves when told."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    @override
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)


class HeldClock(StepClock):
    """A clock whose sleepers sleep until they are let go; short sleeps only give way."""

    def __init__(self, short: float = 0.1) -> None:
        super().__init__()
        self.sleepers: list[asyncio.Future[None]] = []
        self._short = short
        self._came = asyncio.Event()

    @override
    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        if seconds <= self._short:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append(sleeper)
        self._came.set()
        await sleeper

    async def held(self) -> None:
        """Wait until somebody sleeps."""
        async with asyncio.timeout(30):
            while not self.sleepers:
                self._came.clear()
                await self._came.wait()

    async def let_go(self) -> None:
        """Wake those who sleep, once somebody does."""
        await self.held()
        sleepers, self.sleepers = self.sleepers, []
        for sleeper in sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


@dataclass(frozen=True)
class Took:
    """The upstream takes the job, and the caller hears something else."""

    says: Any


class Gate:
    """Holds up those who come, until it is opened; tells when somebody came."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        self.came.set()
        await self.open.wait()


class Held(Slots):
    """Begins no work before it is let go."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.held: list[Coroutine[None, None, None]] = []

    @override
    def start(
        self, verb: Verb, work: Coroutine[None, None, None], *, quarantined: bool = False
    ) -> None:
        del quarantined
        self.held.append(work)

    def let_go(self, verb: Verb) -> None:
        for work in self.held:
            super().start(verb, work)


@dataclass
class ScriptedUpstream:
    """Keeps jobs in memory; `script[call]` holds answers to be given instead, one a call."""

    jobs: list[UpstreamJob] = field(default_factory=list)
    newest_first: bool = True
    script: defaultdict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, Any] = field(default_factory=dict)
    gates: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    sent: list[tuple[Access, Submission]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    largest: int = 1000  # jobs of a page

    def will(self, call: str, *answers: Any) -> None:
        """Answer the next calls so."""
        self.script[call].extend(answers)

    def count(self, call: str) -> int:
        return self.calls.count(call)

    def marked(self, marker: object) -> list[UpstreamJob]:
        return [job for job in self.jobs if job.marker == str(marker)]

    def move(self, status: str, *upstream_ids: str, **changes: Any) -> None:
        """Set the status of jobs; of all where none is named."""
        self.jobs = [
            replace(job, status=status, **changes)
            if not upstream_ids or job.upstream_id in upstream_ids
            else job
            for job in self.jobs
        ]

    def shift(self, seconds: float) -> None:
        """Make everything that much older."""
        by = timedelta(seconds=seconds)
        self.jobs = [
            replace(job, created_at=job.created_at and job.created_at - by) for job in self.jobs
        ]

    async def submit(self, access: Access, submission: Submission) -> Any:
        self.sent.append((access, submission))
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            answer = await self._scripted("submit")
        finally:
            self.busy -= 1
        if answer is None or isinstance(answer, Took):
            marker = json.loads(submission.metadata)["gatewayJobId"]
            made = UpstreamJob(str(uuid7()), "QUEUED", created_at=datetime.now(UTC), marker=marker)
            self.jobs.append(made)
            if gate := self.gates.get("answer"):
                await gate()
            return Submitted(made.upstream_id) if answer is None else answer.says
        return answer

    async def fetch(self, access: Access, upstream_id: str) -> Any:
        self.asked.append(("fetch", (access, upstream_id)))
        return await self._scripted("fetch") or self._find(upstream_id)

    async def status(self, access: Access, upstream_id: str) -> Any:
        self.asked.append(("status", (access, upstream_id)))
        answer = await self._scripted("status")
        if answer is not None:
            return answer
        found = self._find(upstream_id)
        return found.status if isinstance(found, UpstreamJob) else found

    async def page(self, access: Access, *, statuses: Sequence[str], page: int, size: int) -> Any:
        self.asked.append(("page", (access, tuple(statuses), page)))
        answer = await self._scripted("page")
        if answer is not None:
            return answer
        shown = [job for job in self.jobs if not statuses or job.status in statuses]
        if self.newest_first:
            shown.reverse()
        size = min(size, self.largest)
        return shown[page * size : (page + 1) * size]

    async def delete(self, access: Access, upstream_id: str) -> Absent | Trouble | None:
        answer = await self._scripted("delete")
        if answer is None:
            self.gone.append(upstream_id)
            self.jobs = [job for job in self.jobs if job.upstream_id != upstream_id]
        return answer

    async def application(self, access: Access) -> str | Trouble:
        self.asked.append(("application", access))
        return await self._scripted("application") or "Application"

    async def workflows(self, access: Access, *, page: int, size: int) -> list[Workflow] | Trouble:
        answer = await self._scripted("workflows")
        return [] if answer is None else answer

    async def upload(self, access: Access) -> Upload | Trouble:
        return await self._scripted("upload") or Upload("https://put", "https://get")

    def _find(self, upstream_id: str) -> UpstreamJob | Absent:
        return next((job for job in self.jobs if job.upstream_id == upstream_id), Absent())

    async def _scripted(self, call: str) -> Any:
        self.calls.append(call)
        if gate := self.gates.get(call):
            await gate()
        return self.script[call].popleft() if self.script[call] else self.always.get(call)


def upstream_jobs(
    count: int, *, start: datetime, step: float = 1.0, status: str = "SUCCEEDED"
) -> list[UpstreamJob]:
    """Jobs of somebody else, `step` seconds apart, oldest first."""
    return [
        UpstreamJob(f"other-{n:05}", status, created_at=start + timedelta(seconds=step * n))
        for n in range(count)
    ]


@dataclass
class ScriptedSender:
    """Receivers that answer 200 unless `script` says otherwise, by URL."""

    refused: dict[str, str] = field(default_factory=dict)
    sent: list[Webhook] = field(default_factory=list)
    script: defaultdict[str, deque[Reply | SendFault]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    always: dict[str, Reply | SendFault] = field(default_factory=dict)
    gate: Callable[[], Awaitable[None]] | None = None

    def will(self, url: str, *answers: Reply | SendFault) -> None:
        self.script[url].extend(answers)

    def to(self, url: str) -> list[Webhook]:
        return [webhook for webhook in self.sent if webhook.url == url]

    async def send(self, webhook: Webhook, within: float | None = None) -> Reply | SendFault:
        self.sent.append(webhook)
        if self.gate:
            await self.gate()
        if self.script[webhook.url]:
            return self.script[webhook.url].popleft()
        return self.always.get(webhook.url, reply(200))

    async def probe(self, url: str, within: float) -> ReceiverProbe:
        return ReceiverProbe(lookup=FoundAddresses(()), tried=(TriedAddress("192.0.2.1", 0.01),))

    async def refusal(self, url: str) -> str | None:
        return self.refused.get(url)


def reply(
    status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", seconds: float = 0.01
) -> Reply:
    return Reply(status, tuple(headers), body, seconds)


UNREADABLE = Unknown("the answer cannot be read", unreadable=True)
