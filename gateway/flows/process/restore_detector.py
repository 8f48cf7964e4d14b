"""Restore detector: notice that the database was restored from a backup, and so lost recent commits.

The table `beacon` holds one row: an id of the database and a counter that only grows. Processes keep
the highest counter they have seen committed, and Redis keeps a copy. A database with a lower counter
went back in time: jobs that it shows as waiting may already be at the upstream, so they are marked in
doubt (claim/mark_in_doubt.py). A counter is compared with what was known *before its transaction
began*: another transaction may have raised it meanwhile.
"""

from collections.abc import Mapping
from uuid import UUID


class RestoreDetector:
    """The highest counters that one process knows, by database id: databases may share one Redis."""

    def __init__(self) -> None:
        self._known: dict[UUID, int] = {}

    @property
    def known(self) -> Mapping[UUID, int]:
        """The highest committed counters by database id, as a copy."""
        return dict(self._known)

    def learn(self, committed: Mapping[UUID, int]) -> None:
        """Take over counters that were committed, by this process or another one."""
        for id_, count in committed.items():
            self._known[id_] = max(count, self._known.get(id_, count))

    def after(self, id_: UUID) -> int:
        """A counter that is higher than any this database is known to have had."""
        return self._known.get(id_, 0) + 1


def is_behind(known: Mapping[UUID, int], id_: UUID, count: int) -> bool:
    """Whether the database had a higher counter before, so it was restored from a backup.

    `known` is what was known before the transaction that read `count` began.
    """
    return count < known.get(id_, count)
