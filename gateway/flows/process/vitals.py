"""What one process knows of its own health; its heartbeats tell it to all others."""

from dataclasses import dataclass, field

from gateway.core.feed_lag import FeedLag


@dataclass(slots=True)
class Vitals:
    """The last unit of work, with the monotonic time of its end, and whether Postgres answers.

    `trouble` is why it does not, empty while it does; None before it was asked.
    """

    did: str | None = None
    did_at: float = 0.0
    trouble: str | None = None
    feed_lag: float = 0.0
    lag: FeedLag = field(default_factory=FeedLag)

    def note(self, work: str, outcome: str, at: float) -> None:
        """Note a finished unit of work."""
        self.did, self.did_at = f"{work} {outcome}", at
