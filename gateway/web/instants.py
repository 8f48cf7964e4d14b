"""Times that callers send."""

from datetime import UTC, datetime

from gateway.errors import BadRequest


def in_utc(field: str, at: datetime) -> datetime:
    """A time in UTC, which is meant where no offset is given; raises BadRequest naming the field."""
    if at.tzinfo is None:
        return at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise BadRequest.of(field, "is out of range") from None
