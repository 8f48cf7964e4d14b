"""The beacon: a number in the database that only grows, by which lost time is noticed."""

from collections.abc import Mapping
from uuid import UUID


class Beacon:
    """What one process knows of it; several databases, by their ids, may share one Redis."""

    def __init__(self) -> None:
        self._known: dict[UUID, int] = {}

    def recall(self, known: Mapping[UUID, int]) -> None:
        """Take over what is known elsewhere."""
        for id_, count in known.items():
            self._known[id_] = max(count, self._known.get(id_, count))

    def is_behind(self, id_: UUID, count: int) -> bool:
        """Whether the database once had a higher number; then it was restored from a backup."""
        if count < self._known.get(id_, count):
            return True
        self._known[id_] = count
        return False

    def after(self, id_: UUID) -> int:
        """A number that this database has never had."""
        return self._known.get(id_, 0) + 1
