"""Months as ranges of ids: which partition a UUIDv7 belongs to, and where the first month may begin."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.core.uuid7 import first_id

_DECEMBER = 12


class PartitionMonth(NamedTuple):
    """A month of UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, at: datetime) -> "PartitionMonth":
        """The month of a time."""
        at = at.astimezone(UTC)
        return cls(at.year, at.month)

    @classmethod
    def named(cls, name: str) -> "PartitionMonth | None":
        """The month of a name, None where the name is none of a month."""
        year, _, number = name.partition("_")
        if not (year.isdecimal() and number.isdecimal() and 1 <= int(number) <= _DECEMBER):
            return None
        return cls(int(year), int(number))

    @property
    def name(self) -> str:
        """As in the name of a partition: 2026_12."""
        return f"{self.year:04}_{self.number:02}"

    @property
    def begins(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def first(self) -> UUID:
        """The lowest id of the month, which no UUIDv7 has."""
        return first_id(self.begins)

    @property
    def next(self) -> "PartitionMonth":
        """The month after it."""
        if self.number == _DECEMBER:
            return PartitionMonth(self.year + 1, 1)
        return PartitionMonth(self.year, self.number + 1)


def first_own_month(now: datetime, least: timedelta) -> PartitionMonth:
    """The first month that begins at least so much later."""
    return PartitionMonth.of(now + least).next


def months_between(
    last: PartitionMonth, present: PartitionMonth, ahead: int
) -> list[PartitionMonth]:
    """The months after `last`, up to so many after the present one."""
    until = present
    for _ in range(ahead):
        until = until.next
    found: list[PartitionMonth] = []
    while last < until:
        last = last.next
        found.append(last)
    return found
