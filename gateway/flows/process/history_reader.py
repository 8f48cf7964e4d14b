"""History reader: the reads of one list, report or export, on the replica or on the primary.

It is the one place that chooses. A read that fails on the replica is repeated on the primary, and so
are all later ones of the same reader: its pages never go back in time.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from gateway.errors import Unavailable
from gateway.flows.process.read_replica import Replica
from gateway.store.database import Database

T = TypeVar("T")


class HistoryReader:
    """Reads from the replica if it holds everything before a moment, else from the primary."""

    def __init__(
        self, primary: Database, replica: Replica | None, complete_to: datetime | None = None
    ) -> None:
        self._primary = primary
        self._replica = replica if replica is not None and replica.holds(complete_to) else None

    async def read(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """Run a read, which may be run twice, so it must write nothing and send nothing."""
        if self._replica is not None:
            try:
                async with self._replica.reading() as database:
                    return await work(database)
            except (Unavailable, TimeoutError) as error:
                if not self._replica.is_failure(error):
                    raise
                self._replica = None
        return await work(self._primary)
