"""Vitals: the health of this process, which its heartbeat writes for all others to read."""

from dataclasses import dataclass, field

from gateway.core.feed_lag import FeedLag
from gateway.flows.process.throughput import Throughput


@dataclass(slots=True)
class Vitals:
    """The last unit of work, the monotonic time of its end, and whether Postgres answers.

    `trouble` says why Postgres does not answer: empty while it does, None before the first check.
    `feed_lag` is how many seconds an open transaction has held up the event feed. `throughput` is what
    was done since the last heartbeat.
    """

    did: str | None = None
    did_at: float = 0.0
    trouble: str | None = None
    feed_lag: float = 0.0
    lag: FeedLag = field(default_factory=FeedLag)
    throughput: Throughput = field(default_factory=Throughput)

    def note(self, work: str, outcome: str, at: float) -> None:
        """Note a finished unit of work."""
        self.did, self.did_at = f"{work} {outcome}", at

    def note_call(self, outcome: str, seconds: float) -> None:
        """Note a call of the upstream."""
        self.throughput.note_call(outcome, seconds)
