"""Throughput: what this process has done since its last heartbeat, in counts and durations.

The observer notes each unit of work, and the heartbeat writes the sums. So a chart of the gateway costs
no statement for a job. A crash loses the counts of the last five seconds, and only these.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.histogram import bucket_of

_DURATIONS = {"wait": "queue_seconds", "run": "upstream_seconds"}


def _counts() -> Counter[str]:
    return Counter()


def _durations() -> Counter[tuple[str, int]]:
    return Counter()


@dataclass(slots=True)
class Throughput:
    """Counts by name, and durations by name and bucket (core/histogram.py); store/throughput.py has the names.

    `refused` are requests for a job that were answered with an error, `undelivered` are attempts that
    failed, `failed` are all jobs that ended without success. Calls are those of the upstream.
    """

    counts: Counter[str] = field(default_factory=_counts)
    durations: Counter[tuple[str, int]] = field(default_factory=_durations)

    def note(self, work: str, outcome: str, seconds: float, fields: Mapping[str, object]) -> None:
        """Count a finished unit of work."""
        if work == "accept":
            if outcome != "replayed":
                self.counts["accepted" if outcome == "accepted" else "refused"] += 1
        elif work == "job":
            self.counts["succeeded" if outcome == "succeeded" else "failed"] += 1
            self.durations["total", bucket_of(seconds)] += 1
            for name, source in _DURATIONS.items():
                if isinstance(took := fields.get(source), float):
                    self.durations[name, bucket_of(took)] += 1
        elif work == "deliver":
            self.counts["delivered" if outcome == "delivered" else "undelivered"] += 1
            self.durations["attempt", bucket_of(seconds)] += 1

    def note_call(self, outcome: str, seconds: float) -> None:
        """Count a call of the upstream: `answered`, `limited` or `failed`; only answers have a duration."""
        self.counts[f"calls_{outcome}"] += 1
        if outcome == "answered":
            self.durations["call", bucket_of(seconds)] += 1

    def add(self, other: "Throughput") -> None:
        """Add the sums of another one, which could not be written."""
        self.counts += other.counts
        self.durations += other.durations
