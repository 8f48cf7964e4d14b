"""The simulator's clock, which tests can move forward."""

import time
from datetime import UTC, datetime
from functools import lru_cache


class SimulatedClock:
    """Wall time plus an offset; tests can advance and freeze it."""

    __slots__ = ("_frozen_at", "offset")

    def __init__(self) -> None:
        self.offset = 0.0
        self._frozen_at: float | None = None

    def now(self) -> float:
        """Seconds since the epoch, by the simulated service."""
        base = self._frozen_at
        return (time.time() if base is None else base) + self.offset

    @staticmethod
    def wall() -> float:
        """Seconds since the epoch by the real clock, for callers."""
        return time.time()

    def advance(self, seconds: float) -> None:
        self.offset += seconds

    def freeze(self) -> None:
        if self._frozen_at is None:
            self._frozen_at = time.time()

    def thaw(self) -> None:
        """Continue from the frozen instant, so that time never goes back."""
        if self._frozen_at is not None:
            self.offset -= time.time() - self._frozen_at
            self._frozen_at = None


@lru_cache(maxsize=4096)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(instant: float | None) -> str | None:
    """ISO 8601 UTC with milliseconds and `Z`; None stays None."""
    if instant is None:
        return None
    milliseconds = int(instant * 1000)
    return f"{_second_text(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"
