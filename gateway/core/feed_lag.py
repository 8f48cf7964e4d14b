"""Feed lag: how long the event feed has been held up by a transaction that does not end."""

from collections import deque

_MOST = 4_000


class FeedLag:
    """Learns from samples of Postgres: the oldest transaction under way, and the newest.

    Readers of the feed are shown what is older than the oldest. A transaction that was under way at
    the time of an earlier sample, and is so now, has held it up at least since then.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, at: float, horizon: int, newest: int) -> float:
        """Add a sample taken at a time in seconds; returns for how many seconds the feed is held up."""
        samples = self._samples
        while samples and (samples[0][1] <= horizon or samples[0][1] > newest):
            samples.popleft()  # what was to come then is shown by now, or another server is asked
        lag = at - samples[0][0] if samples else 0.0
        if newest > horizon and len(samples) < _MOST:
            samples.append((at, newest))
        return lag
