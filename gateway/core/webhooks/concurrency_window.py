"""How many deliveries one receiver is sent at a time: few at first, more with each answer."""

from dataclasses import dataclass

# What a receiver that does not answer keeps: ten that hang must not hold all the room there is.
_LEAST = 2


@dataclass(slots=True)
class Window:
    """The concurrency window of one receiver, as in the slow start of TCP.

    It doubles with each round of answers, so new connections are opened step by step, and halves
    with each failure. While the sender itself has no time left it does not grow: more at a time
    would only make all receivers wait. `start` is its first size, `most` its last.
    """

    start: int
    most: int
    size: int = 0
    answers: bool = False

    def __post_init__(self) -> None:
        self.size = self.start

    @property
    def claims(self) -> int:
        """How many may be claimed at a time: ahead of what is sent, where answers come."""
        return min(self.most, 4 * self.size) if self.answers else self.size

    def answered(self, *, has_time: bool) -> None:
        """The receiver answered, whatever it said."""
        self.answers = True
        if has_time or self.size < self.start:
            self.size = min(self.most, self.size + 1)
        elif self.size > self.start:
            self.size -= 1

    def failed(self) -> None:
        """The receiver gave no answer."""
        self.answers = False
        self.size = max(_LEAST, self.size // 2)
