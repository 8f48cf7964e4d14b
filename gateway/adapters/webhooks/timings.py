"""Measures the phases of one webhook request: DNS, connect, TLS, first byte."""

from time import perf_counter as now  # an event loop's own clock may count in milliseconds

from gateway.core.webhooks.signed_request import Timings


class PhaseTimer:
    """The time stamps of one exchange, in seconds of `now`; None for a phase that did not happen."""

    __slots__ = (
        "answered",
        "connect_started",
        "has_heard",
        "is_at_proxy",
        "lookup_ended",
        "lookup_started",
        "ready",
        "started",
        "tls_started",
    )

    def __init__(self) -> None:
        self.started = now()
        self.restart()

    def restart(self) -> None:
        """Forget the time stamps of a first try."""
        self.lookup_started: float | None = None
        self.lookup_ended: float | None = None
        self.connect_started: float | None = None
        self.is_at_proxy = False  # the egress proxy is being connected to
        self.tls_started: float | None = None
        self.ready: float | None = None  # the connection is up, and the request goes out
        self.has_heard = False  # a byte of a response came, perhaps of an interim one
        self.answered: float | None = None

    def connect(self) -> None:
        """Mark a new connection; the time of one that failed before it is included."""
        self.connect_started = self.connect_started or now()
        self.tls_started = None

    @property
    def reused(self) -> bool:
        """Whether the request went out over a kept connection."""
        return self.ready is not None and self.connect_started is None

    def seconds(self) -> float:
        """Return the seconds since the exchange started."""
        return now() - self.started

    def timings(self) -> Timings:
        """Return the phases that have ended."""
        connected = self.ready if self.tls_started is None else self.tls_started
        return Timings(
            dns=_between(self.lookup_started, self.lookup_ended),
            connect=_between(self.connect_started, connected),
            tls=_between(self.tls_started, self.ready),
            first_byte=_between(self.ready, self.answered),
        )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start
