"""How many long responses one process sends at once: 20 for one owner, and a number for all."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from gateway.errors import StreamsFull

MOST_EVENT_STREAMS = 1_000
# Each holds up to 3 MB in memory.
MOST_EXPORTS = 60

_MOST_OF_ONE = 20
_RETRY_SECONDS = 5


class Streams:
    """The room for streams in one process, by owner: a tenant, or a key without a tenant."""

    def __init__(self, most: int = MOST_EVENT_STREAMS) -> None:
        self.most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def room(self, owner: str) -> Generator[None]:
        """Take a place within the block; raises StreamsFull."""
        if self._open[owner] >= _MOST_OF_ONE:
            raise _full(
                f"There are {_MOST_OF_ONE} streams open already. Close one, or share one.",
                _MOST_OF_ONE,
            )
        if self._open.total() >= self.most:
            raise _full("This process has no room for another stream.", self.most)
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


def _full(detail: str, quota: int) -> StreamsFull:
    return StreamsFull(detail, quota=quota, room=0, retry_after=_RETRY_SECONDS)
