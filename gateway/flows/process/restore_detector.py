"""The beacon: a number in the database that only grows, by which lost time is noticed.

A number that was read is compared with what was known *before its transaction began*, never with
what has been learned since: another transaction may have raised the number meanwhile.
"""

from collections.abc import Mapping
from uuid import UUID


class RestoreDetector:
    """What one process knows of it; several databases, by their ids, may share one Redis."""

    def __init__(self) -> None:
        self._known: dict[UUID, int] = {}

    @property
    def known(self) -> Mapping[UUID, int]:
        """The highest numbers that were committed so far; a copy, which later news does not change."""
        return dict(self._known)

    def learn(self, committed: Mapping[UUID, int]) -> None:
        """Take over numbers that have been committed, here or elsewhere."""
        for id_, count in committed.items():
            self._known[id_] = max(count, self._known.get(id_, count))

    def after(self, id_: UUID) -> int:
        """A number that this database has never had."""
        return self._known.get(id_, 0) + 1


def is_behind(known: Mapping[UUID, int], id_: UUID, count: int) -> bool:
    """Whether the database had a higher number before; then it was restored from a backup.

    `known` is what was known before the transaction that read `count` began.
    """
    return count < known.get(id_, count)
