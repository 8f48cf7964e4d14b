"""One HTTP request to a receiver, and its outcome: a reply or a fault."""

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["dns", "connect", "tls", "timeout", "blocked", "body", "egress"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One HTTP request to a receiver; header names are lower case."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent in each phase; None where a phase did not happen.

    A kept connection has only `first_byte`, which counts from the request to the end of the
    answer's head. Through an egress proxy, `connect` ends when the tunnel stands.
    """

    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    first_byte: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered; `body` is its first 16 KiB, undecoded."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float
    timings: Timings = Timings()

    def header(self, name: str) -> str | None:
        """The first value of a header, whose name is given in lower case; None without it."""
        return next((value for known, value in self.headers if known.lower() == name), None)


@dataclass(frozen=True, slots=True)
class SendFault:
    """Why there was no usable answer; `egress` is a failure of our own egress proxy."""

    kind: FaultKind
    detail: str
    seconds: float
    timings: Timings = Timings()
