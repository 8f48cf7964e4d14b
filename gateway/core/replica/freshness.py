"""The moment up to which a read of history must be complete, so that a replica does not hide rows.

docs/decisions/0027-reads-from-a-replica.md has the reasons.
"""

from datetime import datetime, timedelta

from gateway.core.text.cursor import PageCursor

# Each process's clock is set by that of Postgres; this is more than they can differ.
_CLOCKS = timedelta(seconds=1)
Span = tuple[datetime | None, datetime | None]


def needed(now: datetime, cursor: PageCursor, *spans: Span) -> datetime | None:
    """The moment for a page of a list; None if any recent state will do.

    A page after a cursor must have what the first page could show. A span `(after, before)` that asks for what
    is newer than a time must be complete to its end, because the caller may go on from there.
    """
    moments = [min(cursor.began, now) + _CLOCKS] if cursor.last and cursor.began else []
    moments += [min(before or now, now) for after, before in spans if after]
    return max(moments, default=None)
