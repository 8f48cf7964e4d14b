"""What a process remembers of sessions: nothing that an announcement came before, and not too many."""

from typing import Any

from gateway.flows.process.session_memory import KnownSession, SessionMemory

MANY = 10_000  # as many as it remembers
KNOWN: Any = KnownSession(None, None)  # type: ignore[arg-type]


def test_a_read_that_an_announcement_overtook_is_not_kept():
    memory = SessionMemory()
    keep = memory.keeper(b"a", 1.0)
    memory.hear("session:1")
    keep(KNOWN)
    assert memory.get(b"a", 1.0) is None


def test_other_announcements_change_nothing():
    memory = SessionMemory()
    memory.keeper(b"a", 1.0)(KNOWN)
    memory.hear("job:1")
    assert memory.get(b"a", 1.0) is KNOWN


def test_it_starts_anew_when_it_is_full():
    memory = SessionMemory()
    for number in range(MANY + 1):
        memory.keeper(number.to_bytes(4), 1.0)(KNOWN)
    assert memory.get((0).to_bytes(4), 1.0) is None
    assert memory.get(MANY.to_bytes(4), 1.0) is KNOWN
