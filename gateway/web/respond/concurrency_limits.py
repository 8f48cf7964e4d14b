"""How many long requests one process has under way at once: some for one owner, more for all."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from gateway.errors import NoRoom, StreamsFull, TrialsFull

_RETRY_SECONDS = 5


class ConcurrencyLimit:
    """The limits of one kind of request; an owner is a tenant, or a key without a tenant.

    `full` is raised where there is no room, with `own` as its text if the owner is at its limit.
    """

    def __init__(self, of_one: int, of_all: int, full: type[NoRoom], own: str, what: str) -> None:
        self.of_all = of_all
        self._of_one = of_one
        self._full = full
        self._own = own
        self._what = what
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def room(self, owner: str) -> Generator[None]:
        """Take a place within the block; raises NoRoom."""
        if self._under_way[owner] >= self._of_one:
            raise self._refusal(self._own, self._of_one)
        if self._under_way.total() >= self.of_all:
            raise self._refusal(f"This process has no room for another {self._what}.", self.of_all)
        self._under_way[owner] += 1
        try:
            yield
        finally:
            self._under_way[owner] -= 1
            if not self._under_way[owner]:
                del self._under_way[owner]

    def _refusal(self, detail: str, quota: int) -> NoRoom:
        return self._full(detail, quota=quota, room=0, retry_after=_RETRY_SECONDS)


def stream_limit(of_all: int = 1_000) -> ConcurrencyLimit:
    """The limit of event streams: 20 for one owner."""
    own = "There are 20 streams open already. Close one, or share one."
    return ConcurrencyLimit(20, of_all, StreamsFull, own, "stream")


def export_limit() -> ConcurrencyLimit:
    """The limit of exports: 20 for one owner, 60 for all, as each holds up to 3 MB in memory."""
    return stream_limit(60)


def sample_limit() -> ConcurrencyLimit:
    """The limit of tests of endpoints: 5 for one tenant, 50 for all, as each waits for a receiver."""
    own = "5 tests of the tenant are running already. Wait for one to end."
    return ConcurrencyLimit(5, 50, TrialsFull, own, "test")
