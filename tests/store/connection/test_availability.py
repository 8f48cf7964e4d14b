"""Trouble of the database is told once, and its end once."""

import asyncio

import pytest

from gateway.store.connection import availability as module
from gateway.store.connection.availability import Availability
from gateway.store.connection.failure_causes import Cause, Trouble

AWAY = Cause(Trouble.AWAY, "connection refused")
FULL = Cause(Trouble.READ_ONLY, "disk full", "one file")
SLOW = Cause(Trouble.SLOW, "a statement took too long")


@pytest.fixture
async def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Availability, list[Cause | None]]:
    monkeypatch.setattr(module, "_CALM_SECONDS", 0.02)
    standing, heard = Availability(), list[Cause | None]()
    standing.on_change(heard.append)
    return standing, heard


async def test_trouble_is_told_once_and_its_end_once(
    told: tuple[Availability, list[Cause | None]],
) -> None:
    standing, heard = told
    standing.well()
    for _ in range(3):
        standing.failed(AWAY)
    standing.well()  # too soon: some connections work while others fail
    assert (heard, standing.cause) == ([AWAY], AWAY)
    await asyncio.sleep(0.03)
    standing.well()
    standing.well()
    assert (heard, standing.cause) == ([AWAY, None], None)


async def test_another_kind_of_trouble_is_news_and_other_words_are_not(
    told: tuple[Availability, list[Cause | None]],
) -> None:
    standing, heard = told
    standing.failed(AWAY)
    standing.failed(FULL)
    standing.failed(FULL._replace(words="another file"))
    assert heard == [AWAY, FULL]


async def test_what_concerns_one_statement_is_told_now_and_then(
    told: tuple[Availability, list[Cause | None]],
) -> None:
    standing, heard = told
    for cause in (None, SLOW, SLOW):
        standing.failed(cause)
    assert (heard, standing.cause) == ([SLOW], None)


async def test_where_nobody_listens_nothing_is_told() -> None:
    standing = Availability()
    standing.failed(AWAY)
    assert standing.cause == AWAY
