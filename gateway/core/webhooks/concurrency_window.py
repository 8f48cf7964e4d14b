"""Concurrency window of a receiver: how many webhooks it gets at a time, as in TCP slow start."""

from dataclasses import dataclass

# The least for a receiver that does not answer: ten that hang must not use all slots.
_LEAST = 2


@dataclass(slots=True)
class Window:
    """The concurrency window of one receiver, from `start` up to `most`.

    It doubles with each round of answers, so connections are opened step by step, and halves with
    each failure. It does not grow while this process has no CPU time left: more concurrent webhooks
    would only delay those to all receivers.
    """

    start: int
    most: int
    size: int = 0
    answers: bool = False

    def __post_init__(self) -> None:
        self.size = self.start

    @property
    def claims(self) -> int:
        """How many deliveries may be claimed at a time: more than are sent, while the receiver answers."""
        return min(self.most, 4 * self.size) if self.answers else self.size

    def answered(self, *, has_time: bool) -> None:
        """Note an answer, with whatever status."""
        self.answers = True
        if has_time or self.size < self.start:
            self.size = min(self.most, self.size + 1)
        elif self.size > self.start:
            self.size -= 1

    def failed(self) -> None:
        """Note a failure without an answer."""
        self.answers = False
        self.size = max(_LEAST, self.size // 2)
