"""What a process remembers of a credential between two rounds of polling."""

from collections.abc import Sequence
from dataclasses import dataclass, field

_REMEMBERED = 20_000


@dataclass(slots=True)
class Memory:
    """What a process remembers between rounds; losing it costs a few calls."""

    ended: dict[str, None] = field(default_factory=dict[str, None])
    tried_at: float = float("-inf")
    unreadable: int = 0
    largest: int = 0
    wants_walk: bool = False
    walked_at: float = float("-inf")
    started_at: float = float("-inf")

    def add(self, upstream_ids: Sequence[str]) -> None:
        """Remember jobs whose end was dealt with."""
        self.ended.update(dict.fromkeys(upstream_ids))
        while len(self.ended) > _REMEMBERED:
            del self.ended[next(iter(self.ended))]
