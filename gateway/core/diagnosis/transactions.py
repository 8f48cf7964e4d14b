"""What the doctor says of sessions that hold something back: the event feed, or the sweep."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.core.diagnosis.findings import DoctorFinding, doubtful, fine

_HELD_SECONDS = 30.0


class OpenTransaction(NamedTuple):
    """A session that holds something back; `gid` is that of a prepared transaction.

    `seconds` is None if the login may not see how long the session of another login has it open.
    """

    pid: int | None
    gid: str | None
    database: str
    login: str
    application: str
    state: str
    seconds: float | None


def judge_transactions(open_for_long: Sequence[OpenTransaction]) -> Iterator[DoctorFinding]:
    """Judge transactions of anybody on the server that hold back the event feed and vacuum."""
    held = [(one, one.seconds or 0.0) for one in open_for_long]
    held = [(one, seconds) for one, seconds in held if seconds >= _HELD_SECONDS]
    hidden = sum(one.seconds is None for one in open_for_long)
    if hidden:
        text = f"{hidden} of other logins are open; this login may not see for how long."
        yield fine("transactions", f"{text} The role pg_read_all_stats may.")
    elif not held:
        yield fine("transactions", "None has held the event feed for long.")
    for one, seconds in held:
        yield doubtful(
            "transactions",
            f"{_named(one)} has been open for {seconds:.0f} s: the event feed shows nothing newer.",
            _end_of(one),
        )


def judge_sweep_lock(holders: Sequence[OpenTransaction]) -> Iterator[DoctorFinding]:
    """Judge who holds the advisory lock of the sweep, where no sweep has been seen for long."""
    for one in holders:
        since = "" if one.seconds is None else f" for {one.seconds:.0f} s"
        yield doubtful(
            "processes",
            f"{_named(one)} has held the lock of the sweep{since}: no worker can sweep.",
            _end_of(one),
        )


def _named(one: OpenTransaction) -> str:
    name = f"The prepared transaction {one.gid}" if one.gid is not None else f"Session {one.pid}"
    application = f", application {one.application}" if one.application else ""
    return f"{name} of {one.login} in database {one.database}{application}"


def _end_of(one: OpenTransaction) -> str:
    end = f"ROLLBACK PREPARED '{one.gid}';" if one.gid is not None else ""
    end = end or f"SELECT pg_terminate_backend({one.pid});"
    return f"End it in the program that opened it, or, if that is safe: {end}"
