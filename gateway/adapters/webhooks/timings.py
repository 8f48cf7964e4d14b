"""When each phase of one webhook began and ended."""

from time import perf_counter as now  # an event loop's own clock may count in milliseconds

from gateway.core.webhooks.request import Timings


class PhaseTimer:
    """Marks of one exchange, in seconds; None where nothing happened."""

    __slots__ = (
        "answered",
        "at_proxy",
        "began",
        "connecting",
        "heard",
        "looking_up",
        "ready",
        "resolved",
        "securing",
    )

    def __init__(self) -> None:
        self.began = now()
        self.restart()

    def restart(self) -> None:
        """Forget the marks of a first try."""
        self.looking_up: float | None = None
        self.resolved: float | None = None
        self.connecting: float | None = None
        self.at_proxy = False  # the egress proxy is being called and has not been reached
        self.securing: float | None = None
        self.ready: float | None = None
        self.heard = False  # a byte of an answer came, if only of an interim one
        self.answered: float | None = None

    def connect(self) -> None:
        """Mark a new connection; the time lost on one that failed before it counts as its own."""
        self.connecting = self.connecting or now()
        self.securing = None

    @property
    def reused(self) -> bool:
        """The request went out over a connection that was already there."""
        return self.ready is not None and self.connecting is None

    def seconds(self) -> float:
        """How long ago the exchange began."""
        return now() - self.began

    def timings(self) -> Timings:
        """The phases as far as they ended."""
        connected = self.ready if self.securing is None else self.securing
        return Timings(
            dns=_between(self.looking_up, self.resolved),
            connect=_between(self.connecting, connected),
            tls=_between(self.securing, self.ready),
            first_byte=_between(self.ready, self.answered),
        )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start
