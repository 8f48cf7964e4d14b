"""Slots for sample deliveries: each holds a request and a connection until the receiver answers."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from gateway.errors import TrialsFull

_MOST_OF_ONE = 5
_MOST = 50
_RETRY_SECONDS = 5


class SampleSlots:
    """The room of one process: 5 for one tenant, 50 for all."""

    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def room(self, tenant: str) -> Generator[None]:
        """Take a place within the block; raises TrialsFull."""
        if self._under_way[tenant] >= _MOST_OF_ONE:
            reason = f"{_MOST_OF_ONE} tests of the tenant are running already. Wait for one to end."
            raise _full(reason, _MOST_OF_ONE)
        if self._under_way.total() >= _MOST:
            raise _full("This process has no room for another test now.", _MOST)
        self._under_way[tenant] += 1
        try:
            yield
        finally:
            self._under_way[tenant] -= 1
            if not self._under_way[tenant]:
                del self._under_way[tenant]


def _full(detail: str, quota: int) -> TrialsFull:
    return TrialsFull(detail, quota=quota, room=0, retry_after=_RETRY_SECONDS)
