"""Ports: the protocols that adapters implement for the flows, and the values that pass through them.

Expected outcomes are values. An adapter raises only for its own defects.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID

from gateway.core.crypto.cipher import Secret
from gateway.core.webhooks.receiver_probe import ReceiverProbe
from gateway.core.webhooks.signed_request import Reply, SendFault, Webhook


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the upstream for one credential."""

    credential_id: UUID
    base_url: str
    key: Secret


@dataclass(frozen=True, slots=True)
class Submission:
    """The job as it is sent upstream; params, metadata and copy_results_to are JSON texts."""

    name: str
    workflow: str
    params: str
    metadata: str
    copy_results_to: str | None
    traceparent: str | None = None  # sent along


@dataclass(frozen=True, slots=True)
class UpstreamProblem:
    """A reason that the upstream gave, in its own words."""

    code: str
    title: str
    message: str


@dataclass(frozen=True, slots=True)
class UpstreamJob:
    """A job as the upstream reports it; `status` may be something else than its four words."""

    upstream_id: str
    status: str
    result: str | None = None  # JSON
    problem: UpstreamProblem | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    marker: str | None = None  # metadata.gatewayJobId


@dataclass(frozen=True, slots=True)
class Submitted:
    """The upstream took the job."""

    upstream_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream will never take this job (4xx)."""

    status: int
    problem: UpstreamProblem


@dataclass(frozen=True, slots=True)
class Denied:
    """The upstream does not honour the credential (401, 402, 403)."""

    status: int
    problem: UpstreamProblem


@dataclass(frozen=True, slots=True)
class Sealed:
    """No master key opens the credential: nothing was sent, and only an operator can help."""

    reason: str = "no master key opens the credential"


@dataclass(frozen=True, slots=True)
class Busy:
    """The request was certainly not carried out; `limited` for a rate limit (429).

    `retry_after` are the seconds that the upstream asked for, or None.
    """

    reason: str
    retry_after: float | None = None
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """It is unknown whether the request was carried out; a submit is then in doubt.

    `unreadable` where the upstream answered with success and an unusable body.
    """

    reason: str
    retry_after: float | None = None
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """The upstream has no such job (404)."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The upstream's signed URLs for one file."""

    upload_url: str
    download_url: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow that a credential may run; `raw` is the upstream's own JSON object."""

    id: str
    name: str
    slug: str
    raw: str


Trouble = Denied | Busy | Unknown


class Upstream(Protocol):
    """The job API, as seen with one credential. Every call ends within its own deadline."""

    async def submit(
        self, access: Access, submission: Submission
    ) -> Submitted | Refused | Trouble: ...

    async def fetch(self, access: Access, upstream_id: str) -> UpstreamJob | Absent | Trouble: ...

    async def status(self, access: Access, upstream_id: str) -> str | Absent | Trouble: ...

    async def page(
        self, access: Access, *, statuses: Sequence[str], page: int, size: int
    ) -> list[UpstreamJob] | Trouble: ...

    async def delete(self, access: Access, upstream_id: str) -> Absent | Trouble | None: ...


class Catalogue(Protocol):
    """The rest of the upstream, for callers that wait: the application's name, and lists."""

    async def application(self, access: Access) -> str | Trouble: ...

    async def workflows(
        self, access: Access, *, page: int, size: int
    ) -> list[Workflow] | Trouble: ...

    async def upload(self, access: Access) -> Upload | Trouble: ...


class Sender(Protocol):
    """Posts webhooks to receivers, and only to addresses that may be called."""

    async def send(self, webhook: Webhook, within: float | None = None) -> Reply | SendFault:
        """Post a webhook, within the sender's own timeout and `within` seconds."""
        ...

    async def probe(self, url: str, within: float) -> ReceiverProbe:
        """Look at the way to a receiver, for at most `within` seconds; no request is sent."""
        ...

    async def refusal(self, url: str) -> str | None:
        """Why this URL may not be called, for the person who gave it; None when it may."""
        ...


Verb = Literal["submit", "poll", "deliver", "bulk"]


class Queue(Protocol):
    """Wake-ups: hints that rows may be due; losing, delaying or doubling one is harmless.

    `announce` tells every process that what it knows of a subject is out of date. `mirror` keeps a
    copy of the number of a database's beacon, and `mirrored` tells it, by database. None of them
    ever raises, and only `mirrored` waits.
    """

    def wake(self, verb: Verb, *, after: float = 0.0) -> None: ...

    def on_wake(self, callback: Callable[[Verb], None]) -> None:
        """Call back with each verb that this process wakes."""
        ...

    def announce(self, subject: str) -> None: ...

    def listen(self, callback: Callable[[str], None]) -> None:
        """Call back with every announced subject, and with `*` when some may have been missed."""
        ...

    @property
    def connected(self) -> bool:
        """Whether wake-ups and announcements pass, as far as this process knows."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why wake-ups do not pass, in one line for operators; None while they do."""
        ...

    def mirror(self, beacon: UUID, count: int) -> None: ...

    async def mirrored(self) -> Mapping[UUID, int]: ...


@dataclass(frozen=True, slots=True)
class Allowance:
    """A limiter's answer to one request: how many are left, and in how many seconds there are more."""

    allowed: bool
    limit: int
    remaining: int
    reset: float


class Limiter(Protocol):
    """Counts requests of a subject over all processes. Never raises."""

    async def hit(self, subject: str, per_second: int) -> Allowance: ...


@dataclass(frozen=True, slots=True)
class ProviderFault:
    """Why an identity provider gives no person: a sentence for people, and the cause for the log.

    `away` is worth another attempt, `refused` is the provider's decision, `distrusted` is an answer that
    may be forged.
    """

    kind: Literal["away", "refused", "distrusted"]
    text: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What a provider sends the browser back with; empty where it says nothing."""

    state: str = ""
    code: str = ""
    issuer: str = ""
    error: str = ""
    error_text: str = ""


class IdentityProvider(Protocol):
    """An OpenID Connect provider that staff sign in with. Every call has a time limit."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def issuer(self) -> str: ...

    async def authorization_url(
        self, *, state: str, nonce: str, verifier: str
    ) -> str | ProviderFault:
        """Where the browser is sent to sign in; `verifier` is PKCE's."""
        ...

    async def claims(
        self, answer: ProviderAnswer, *, nonce: str, verifier: str
    ) -> Mapping[str, object] | ProviderFault:
        """The claims of the ID token that an answer stands for, each of them checked."""
        ...

    async def sign_out_url(self) -> str | None:
        """Where a person ends the session at the provider; None if it has no such page."""
        ...

    async def check(self) -> ProviderFault | None:
        """Ask the provider for its description and its keys now; None if both can be used."""
        ...


class Clock(Protocol):
    """The time of day, and a monotonic time in seconds."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SharedClock(Clock, Protocol):
    """Time by Postgres's clock, so that all hosts have one: `offset` is added to this host's."""

    @property
    def offset(self) -> timedelta: ...

    def set_offset(self, offset: timedelta) -> None: ...


class Ids(Protocol):
    """New ids and random numbers."""

    def uuid(self) -> UUID: ...

    def random_bytes(self, count: int) -> bytes: ...

    def jitter(self) -> float:
        """A number from 0 up to 1."""
        ...


class Span(Protocol):
    """One unit of work in a trace. It is exported once it has ended."""

    @property
    def traceparent(self) -> str:
        """Its context in the form of W3C Trace Context, to store or to send on."""
        ...

    def note(self, **fields: object) -> None:
        """Add fields; only those that the adapter lists are exported."""
        ...

    def end(self, outcome: str, **fields: object) -> None:
        """End it, with the fields of its log line."""
        ...


class Tracer(Protocol):
    """Begins spans. Never raises, and never waits for the collector."""

    def start(self, work: str, traceparent: str | None = None) -> Span:
        """Begin a trace, or continue that of a caller if its `traceparent` is valid."""
        ...

    def child(self, work: str, parent: str, *, ago: float = 0.0) -> Span:
        """Begin a span in a stored context; it began `ago` seconds ago."""
        ...


class Observer(Protocol):
    """Receives every finished unit of work; writes a log line and metrics, and ends its span."""

    def done(
        self, work: str, outcome: str, *, seconds: float, span: Span | None = None, **fields: object
    ) -> None: ...
