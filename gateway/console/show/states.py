"""How a state looks: the class of its colour and shape, and its word. Pure."""

from typing import NamedTuple

from gateway.core.model import DeliveryState, JobState


class Pill(NamedTuple):
    """A state as pages show it: never by colour alone."""

    look: str
    word: str


_JOBS = {
    JobState.ACCEPTED: Pill("waits", "queued"),
    JobState.SUBMITTING: Pill("waits", "submitting"),
    JobState.SUBMITTED: Pill("waits", "queued upstream"),
    JobState.RUNNING: Pill("runs", "running"),
    JobState.SUCCEEDED: Pill("good", "succeeded"),
    JobState.FAILED: Pill("bad", "failed"),
    JobState.CANCELLED: Pill("person", "cancelled"),
    JobState.EXPIRED: Pill("bad", "expired"),
}
_DELIVERIES = {
    DeliveryState.PENDING: Pill("waits", "pending"),
    DeliveryState.DELIVERED: Pill("good", "delivered"),
    DeliveryState.EXHAUSTED: Pill("bad", "dead letter"),
    DeliveryState.PARKED: Pill("needs", "parked"),
}
PROCESSES = {
    "ok": Pill("good", "alive"),
    "stale": Pill("bad", "silent"),
    "stopped": Pill("waits", "stopped"),
}


def job_pill(state: str) -> Pill:
    """The pill of a job's state."""
    return _JOBS[JobState(state)]


def delivery_pill(state: str) -> Pill:
    """The pill of a delivery's state."""
    return _DELIVERIES[DeliveryState(state)]
