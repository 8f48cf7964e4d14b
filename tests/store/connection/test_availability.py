"""A listener hears once that the database is unavailable, and once that it is available again."""

import asyncio

import pytest

from gateway.store.connection import availability as module
from gateway.store.connection.availability import Availability
from gateway.store.connection.failure_causes import Cause, Trouble

AWAY = Cause(Trouble.AWAY, "connection refused")
FULL = Cause(Trouble.READ_ONLY, "disk full", "one file")
SLOW = Cause(Trouble.SLOW, "a statement took too long")


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[Availability, list[Cause | None]]:
    monkeypatch.setattr(module, "_RECOVERY_SECONDS", 0.02)
    availability, heard = Availability(), list[Cause | None]()
    availability.on_change(heard.append)
    return availability, heard


async def test_a_failure_is_reported_once_and_so_is_its_end(
    watched: tuple[Availability, list[Cause | None]],
) -> None:
    availability, heard = watched
    availability.note_success()
    for _ in range(3):
        availability.note_failure(AWAY)
    availability.note_success()  # too soon: some connections work while others fail
    assert (heard, availability.cause) == ([AWAY], AWAY)
    await asyncio.sleep(0.03)
    availability.note_success()
    availability.note_success()
    assert (heard, availability.cause) == ([AWAY, None], None)


async def test_a_new_kind_of_failure_is_reported_and_a_new_message_is_not(
    watched: tuple[Availability, list[Cause | None]],
) -> None:
    availability, heard = watched
    availability.note_failure(AWAY)
    availability.note_failure(FULL)
    availability.note_failure(FULL._replace(words="another file"))
    assert heard == [AWAY, FULL]


async def test_a_failure_of_one_statement_is_reported_and_is_not_the_cause(
    watched: tuple[Availability, list[Cause | None]],
) -> None:
    availability, heard = watched
    for cause in (None, SLOW, SLOW):
        availability.note_failure(cause)
    assert (heard, availability.cause) == ([SLOW], None)


async def test_the_cause_is_known_without_a_listener() -> None:
    availability = Availability()
    availability.note_failure(AWAY)
    assert availability.cause == AWAY
