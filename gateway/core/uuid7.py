"""Ids that begin with the time: UUID version 7 (RFC 9562, section 5.7).

Jobs, events and deliveries have such ids, so a range of time is a range of ids. The first 48 bits are
the milliseconds since 1970. Both functions clamp to what these bits, or a datetime, can hold.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

_LAST_MILLISECOND = 2**48 - 1
_RANDOM_BITS = 80
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - _MILLISECOND


def first_id(at: datetime, slack: timedelta = timedelta()) -> UUID:
    """The lowest UUIDv7 of the millisecond of `at + slack`."""
    milliseconds = (at - _EPOCH + slack) // _MILLISECOND
    return UUID(int=min(max(milliseconds, 0), _LAST_MILLISECOND) << _RANDOM_BITS)


def time_of(id_: UUID) -> datetime:
    """When a UUIDv7 was made, to the millisecond, by the clock of the host that made it."""
    return _EPOCH + min((id_.int >> _RANDOM_BITS) * _MILLISECOND, _LATEST - _EPOCH)
