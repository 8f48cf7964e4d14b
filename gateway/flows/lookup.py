"""Look for jobs by marker in the upstream's list, whichever way the list is sorted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gateway.ports import Access, Trouble, Unknown, Upstream, UpstreamJob

_SIZE = 100
_MAX_CALLS = 60


class _CannotListError(Exception):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble


@dataclass(slots=True)
class Lookup:
    """One walk for the jobs of one credential that were sent after `since`, by the clock of `now`.

    An upstream whose clock runs late dates its newest job early; that much further it is searched.
    """

    upstream: Upstream
    access: Access
    markers: set[str]
    since: datetime
    now: datetime
    found: dict[str, UpstreamJob] = field(default_factory=dict[str, UpstreamJob])
    _calls: int = 0

    async def run(self) -> Trouble | None:
        """Fill `found`; None when what is not there was certainly not in the list."""
        try:
            first = await self._page(0)
            if not _is_ascending(first):
                self._allow_for_lateness(first[:1])
            if not self._over(first):
                await (self._backward() if _is_ascending(first) else self._forward())
        except _CannotListError as cannot:
            return cannot.trouble
        return None

    def _allow_for_lateness(self, newest: Sequence[UpstreamJob]) -> None:
        for job in newest:
            if job.created_at is not None and job.created_at < self.now:
                self.since -= self.now - job.created_at

    async def _forward(self) -> None:
        number = 1
        while not self._over(await self._page(number)):
            number += 1

    async def _backward(self) -> None:
        """Find the last page, which has the newest jobs, and go back from there."""
        low, high = 0, 1
        while await self._page(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await self._page(middle) else (low, middle)
        for number in range(low, 0, -1):
            page = await self._page(number)
            if number == low:
                self._allow_for_lateness(page[-1:])
            if self._has_all() or (page and _before(page[0], self.since)):
                return

    async def _page(self, number: int) -> list[UpstreamJob]:
        self._calls += 1
        if self._calls > _MAX_CALLS:
            raise _CannotListError(Unknown("the upstream's list is too long to be searched"))
        page = await self.upstream.page(self.access, statuses=(), page=number, size=_SIZE)
        if not isinstance(page, list):
            raise _CannotListError(page)
        for job in page:
            if job.marker is not None and job.marker in self.markers:
                known = self.found.get(job.marker)
                if known is None or _is_older(job, known):
                    self.found[job.marker] = job
        return page

    def _over(self, page: Sequence[UpstreamJob]) -> bool:
        # Only an empty page is the end: an upstream may give fewer jobs than it was asked for.
        if self._has_all() or not page:
            return True
        return not _is_ascending(page) and _before(page[-1], self.since)

    def _has_all(self) -> bool:
        return self.markers <= self.found.keys()


def _is_ascending(page: Sequence[UpstreamJob]) -> bool:
    if not page:
        return False
    first, last = page[0].created_at, page[-1].created_at
    return first is not None and last is not None and first < last


def _before(job: UpstreamJob, instant: datetime) -> bool:
    return job.created_at is not None and job.created_at < instant


def _is_older(job: UpstreamJob, than: UpstreamJob) -> bool:
    """Should two jobs ever carry one marker, everybody keeps the same one."""
    if job.created_at is None or than.created_at is None:
        return job.upstream_id < than.upstream_id
    return (job.created_at, job.upstream_id) < (than.created_at, than.upstream_id)
