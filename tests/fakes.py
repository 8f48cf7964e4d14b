"""Stand-ins for what lies outside: time that is told, chance that is counted, ports that record."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.core.trace_context import parse_traceparent, trace_id_of
from gateway.core.webhooks.receiver_probe import FoundAddresses, ReceiverProbe, TriedAddress
from gateway.ports import (
    Absent,
    Access,
    Allowance,
    Reply,
    Span,
    Submission,
    Submitted,
    Trouble,
    Upload,
    UpstreamJob,
    Verb,
    Webhook,
    Workflow,
)


class FixedClock:
    """Time that passes only by `advance`, or by sleeping."""

    def __init__(self, at: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._at = at
        self._seconds = 1000.0
        self.offset = timedelta()

    def set_offset(self, offset: timedelta) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._at += timedelta(seconds=seconds)
        self._seconds += seconds


class FakeIds:
    """Real uuid7, so that their order is that of time; bytes and jitter from a seed."""

    def __init__(self, seed: int | None = 0, jitter: float = 0.5) -> None:
        self._random = random.Random(seed)
        self._jitter = jitter

    def uuid(self) -> UUID:
        return uuid7()

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def jitter(self) -> float:
        return self._jitter


@dataclass
class FakeQueue:
    """Records wake-ups as (verb, after); passes announcements on at once."""

    wakes: list[tuple[Verb, float]] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    connected: bool = True
    trouble: str | None = None
    beacons: dict[UUID, int] = field(default_factory=dict)
    _listeners: list[Callable[[str], None]] = field(default_factory=list)
    _wakers: list[Callable[[Verb], None]] = field(default_factory=list)

    def mirror(self, beacon: UUID, count: int) -> None:
        self.beacons[beacon] = count

    async def mirrored(self) -> dict[UUID, int]:
        return self.beacons

    def wake(self, verb: Verb, *, after: float = 0.0) -> None:
        self.wakes.append((verb, after))

    def on_wake(self, callback: Callable[[Verb], None]) -> None:
        self._wakers.append(callback)

    def announce(self, subject: str) -> None:
        self.announced.append(subject)
        for listener in self._listeners:
            listener(subject)

    def listen(self, callback: Callable[[str], None]) -> None:
        self._listeners.append(callback)


@dataclass
class FakeLimiter:
    """Lets so many requests of a subject pass, whatever its rate is."""

    left: int = 1_000_000

    async def hit(self, subject: str, per_second: int) -> Allowance:
        self.left -= 1
        return Allowance(self.left >= 0, per_second, max(self.left, 0), 0.5)


@dataclass
class FakeObserver:
    """Records finished work as (work, outcome, fields)."""

    seen: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def done(
        self, work: str, outcome: str, *, seconds: float, span: Span | None = None, **fields: object
    ) -> None:
        self.seen.append((work, outcome, fields))
        if span is not None:
            span.end(outcome, **fields)


@dataclass
class FakeSpan:
    """A span as it was begun; `outcome` and `fields` once it has ended."""

    work: str
    parent: str | None
    traceparent: str
    ago: float = 0.0
    outcome: str | None = None
    fields: dict[str, object] = field(default_factory=dict)

    def note(self, **fields: object) -> None:
        self.fields |= fields

    def end(self, outcome: str, **fields: object) -> None:
        assert self.outcome is None, "it has ended already"
        self.outcome = outcome
        self.fields |= fields


@dataclass
class FakeTracer:
    """Records spans; each has an id of its own, and the trace of its parent."""

    spans: list[FakeSpan] = field(default_factory=list)

    def start(self, work: str, traceparent: str | None = None) -> FakeSpan:
        is_valid = traceparent and parse_traceparent(traceparent)
        return self._begin(work, traceparent if is_valid else None)

    def child(self, work: str, parent: str, *, ago: float = 0.0) -> FakeSpan:
        return self._begin(work, parent, ago)

    def of(self, work: str) -> list[FakeSpan]:
        """The spans of a kind of work."""
        return [span for span in self.spans if span.work == work]

    def _begin(self, work: str, parent: str | None, ago: float = 0.0) -> FakeSpan:
        number = len(self.spans) + 1
        trace_id = trace_id_of(parent) or f"{number:032x}"
        span = FakeSpan(work, parent, f"00-{trace_id}-{number:016x}-01", ago)
        self.spans.append(span)
        return span


@dataclass
class FakeUpstream:
    """An upstream that takes everything; what it answers can be set."""

    name: Trouble | str = "Application"
    listed: list[Workflow] | Trouble = field(default_factory=list)
    signed: Upload | Trouble = field(default_factory=lambda: Upload("https://put", "https://get"))
    deleted: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    async def submit(self, access: Access, submission: Submission) -> Submitted:
        return Submitted(str(uuid7()))

    async def fetch(self, access: Access, upstream_id: str) -> UpstreamJob | Absent | Trouble:
        return Absent()

    async def status(self, access: Access, upstream_id: str) -> str | Absent | Trouble:
        return Absent()

    async def page(
        self, access: Access, *, statuses: Sequence[str], page: int, size: int
    ) -> list[UpstreamJob] | Trouble:
        return []

    async def delete(self, access: Access, upstream_id: str) -> Absent | Trouble | None:
        self.deleted.append(upstream_id)
        return None

    async def application(self, access: Access) -> str | Trouble:
        self.keys.append(access.key.value)
        return self.name

    async def workflows(self, access: Access, *, page: int, size: int) -> list[Workflow] | Trouble:
        return self.listed

    async def upload(self, access: Access) -> Upload | Trouble:
        return self.signed


@dataclass
class FakeSender:
    """Receivers that answer 200, at any address but those that are refused."""

    refused: dict[str, str] = field(default_factory=dict)
    sent: list[Webhook] = field(default_factory=list)
    probed: dict[str, ReceiverProbe] = field(default_factory=dict)

    async def send(self, webhook: Webhook, within: float | None = None) -> Reply:
        self.sent.append(webhook)
        return Reply(200, (), b"", 0.01)

    async def probe(self, url: str, within: float) -> ReceiverProbe:
        lookup, tried = FoundAddresses(("192.0.2.1",), 0.01), (TriedAddress("192.0.2.1", 0.01),)
        return self.probed.get(url, ReceiverProbe(lookup=lookup, tried=tried))

    async def refusal(self, url: str) -> str | None:
        return self.refused.get(url)
