"""What a process remembers of a credential between two rounds of polling."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.store.work.polls import JobPosition

_REMEMBERED = 20_000


@dataclass(slots=True)
class PollMemory:
    """What a process remembers between rounds; losing it costs a few calls."""

    ended: dict[str, None] = field(default_factory=dict[str, None])
    tried_at: float = float("-inf")
    unreadable: int = 0
    largest: int = 0
    # When overdue jobs were last searched for in the list, and whether that was in vain.
    searched_at: float = float("-inf")
    in_vain: bool = False
    started_at: float = float("-inf")
    # By how much the upstream dates jobs earlier than we do, at most, in seconds.
    earlier: float = 0.0
    # Up to where the jobs at the upstream were looked at, of all workflows and of each one.
    walked: JobPosition = field(default_factory=JobPosition)
    overdue: dict[str, JobPosition] = field(default_factory=dict[str, JobPosition])

    def add(self, upstream_ids: Sequence[str]) -> None:
        """Remember jobs whose end was dealt with."""
        self.ended.update(dict.fromkeys(upstream_ids))
        while len(self.ended) > _REMEMBERED:
            del self.ended[next(iter(self.ended))]
