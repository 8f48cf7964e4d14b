"""Records requests: counters, submissions by marker, and the latest requests."""

from collections import Counter, deque
from typing import NamedTuple

from gateway.simulator.http.messages import WireScript

KEPT_REQUESTS = 5000


class Entry(NamedTuple):
    """One request in the log, without its bodies; the status is 0 if no response was sent."""

    at: float
    method: str
    path: str
    query: str
    route: str
    key: str
    status: int
    wire: WireScript | None
    user_agent: str
    size: int


class Record:
    """Counters since the start or the last reset; the request log is a ring buffer."""

    def __init__(self) -> None:
        self.submissions = 0
        self.calls: dict[str, dict[str, int]] = {}
        self.statuses: dict[int, int] = {}
        self.markers: dict[str, int] = {}
        self.repeated: dict[str, int] = {}
        self.log: deque[Entry] = deque(maxlen=KEPT_REQUESTS)

    def note(self, entry: Entry) -> None:
        routes = self.calls.get(entry.key)
        if routes is None:
            routes = self.calls[entry.key] = {}
        routes[entry.route] = routes.get(entry.route, 0) + 1
        status = entry.status
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.log.append(entry)

    def note_submission(self, marker: str | None) -> None:
        self.submissions += 1
        if marker is not None:
            count = self.markers[marker] = self.markers.get(marker, 0) + 1
            if count > 1:
                self.repeated[marker] = count

    def totals(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for routes in self.calls.values():
            totals.update(routes)
        return dict(totals)
