"""Until when an answer must be complete: cursors, and spans of time that a caller goes on from."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.core.replica.freshness import Span, needed
from gateway.core.text.cursor import PageCursor

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LONG_AGO, LATER = NOW - 1000 * SECOND, NOW + 1000 * SECOND
START, PLACE = PageCursor(None, NOW), UUID(int=1)


@pytest.mark.parametrize(
    ("cursor", "spans", "moment"),
    [
        (START, [], None),
        (START, [(None, None)], None),
        (START, [(None, LONG_AGO)], None),
        # A page after a cursor: what its first page could show.
        (PageCursor(PLACE, LONG_AGO), [], LONG_AGO + SECOND),
        (PageCursor(PLACE, NOW), [], NOW + SECOND),
        (PageCursor(PLACE, datetime.max.replace(tzinfo=UTC)), [], NOW + SECOND),
        (PageCursor(PLACE, None), [], None),  # without a replica nobody needs it
        # What is newer than a time, to the end of the span.
        (START, [(LONG_AGO, None)], NOW),
        (START, [(LATER, None)], NOW),
        (START, [(LONG_AGO, LONG_AGO + SECOND)], LONG_AGO + SECOND),
        (START, [(LONG_AGO, LATER)], NOW),
        (START, [(LONG_AGO, LONG_AGO), (LONG_AGO, None)], NOW),
        (PageCursor(PLACE, LONG_AGO), [(LONG_AGO, NOW)], NOW),
    ],
)
def test_the_moment(cursor: PageCursor, spans: list[Span], moment: datetime | None) -> None:
    assert needed(NOW, cursor, *spans) == moment
