"""What one process remembers of a credential between two polling rounds.

It is only an optimisation: positions to go on from, jobs that need no second look, and when costly
calls were last made. A crash loses it, and the next rounds make a few calls more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.store.work.polls import JobPosition

_MAX_ENDED = 20_000
_NEVER = float("-inf")


@dataclass(slots=True)
class PollMemory:
    """The memory of one credential. Times are of the monotonic clock."""

    # Upstream ids of ended jobs that were settled, or are none of ours. The oldest come first.
    ended: dict[str, None] = field(default_factory=dict[str, None])
    unreadable_pages: int = 0
    largest_page: int = 0
    list_tried_at: float = _NEVER
    starts_listed_at: float = _NEVER
    # The last bisection of the list for overdue jobs, and whether it found none of them.
    searched_at: float = _NEVER
    search_found_nothing: bool = False
    # By how many seconds the upstream dates jobs earlier than we do, at most.
    clock_offset: float = 0.0
    # Where the next walk over all jobs, and over the overdue jobs of each workflow, goes on.
    next_check: JobPosition = field(default_factory=JobPosition)
    next_overdue: dict[str, JobPosition] = field(default_factory=dict[str, JobPosition])

    def add(self, upstream_ids: Sequence[str]) -> None:
        """Remember ended jobs that need no second look; the oldest are forgotten."""
        self.ended.update(dict.fromkeys(upstream_ids))
        while len(self.ended) > _MAX_ENDED:
            del self.ended[next(iter(self.ended))]
