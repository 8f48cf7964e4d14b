"""Receiver lanes: how many deliveries of one process each receiver gets at a time.

A lane is the queue of one receiver. Its concurrency window begins small and grows with each answer,
as in the slow start of TCP, and halves with each failure (core/webhooks/concurrency_window.py).
So a slow or dead receiver cannot take the slots of the others.
It lives in memory: a crash loses the windows, and each receiver starts slowly again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from gateway.core.webhooks.concurrency_window import Window

# An idle lane is forgotten after this time; its next delivery starts slowly again.
_REST_SECONDS = 1.0
# How often the lag of the event loop is measured, and by how much it is smoothed.
_STEP_SECONDS = 0.02
_WEIGHT = 0.3
# With less lag than this the process has time for larger windows.
_LAG_SECONDS = 0.003


class Taken(NamedTuple):
    """A lane in use: how many more deliveries it may claim, and how many it has claimed."""

    lane: UUID
    free: int
    claimed: int


@dataclass(slots=True)
class _Lane:
    window: Window
    claimed: int = 0
    sending: int = 0
    ended_at: float = 0.0
    was_full: bool = False
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])

    def let_in(self) -> None:
        """Give turns to waiting deliveries, as far as the window allows."""
        while self.waiting and self.sending < self.window.size:
            turn = self.waiting.popleft()
            if not turn.done():
                self.sending += 1
                turn.set_result(None)


class ReceiverLanes:
    """The lanes of one process. A new receiver's window is `start`.

    All lanes together claim at most `ahead` deliveries beyond that. If a lane, or all of them, had
    claimed as many as they may, `look` is called once half of these have left.
    An idle lane is forgotten after `rest` seconds.
    """

    def __init__(
        self,
        start: int,
        ahead: int,
        look: Callable[[], None] = lambda: None,
        rest: float = _REST_SECONDS,
    ) -> None:
        self._start = start
        self._ahead = max(start, ahead)
        self._look = look
        self._rest = rest
        self._lanes: dict[UUID, _Lane] = {}
        self._claimed = 0
        self._was_full = False
        self._lag = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def taken(self) -> list[Taken]:
        """The lanes in use; idle ones are forgotten."""
        now = asyncio.get_running_loop().time()
        idle = [
            id_
            for id_, lane in self._lanes.items()
            if not lane.claimed and lane.ended_at < now - self._rest
        ]
        for id_ in idle:
            del self._lanes[id_]
        return [
            Taken(id_, lane.window.claims - lane.claimed, lane.claimed)
            for id_, lane in self._lanes.items()
        ]

    def claimed(self, lane_id: UUID) -> int:
        """How many deliveries of a lane are claimed."""
        lane = self._lanes.get(lane_id)
        return lane.claimed if lane else 0

    def claim(self, lane_id: UUID) -> None:
        """Count a claimed delivery, until `end`."""
        lane = self._lanes.get(lane_id)
        if lane is None:
            lane = self._lanes[lane_id] = _Lane(Window(self._start, self._ahead))
        lane.claimed += 1
        lane.was_full = lane.was_full or lane.claimed >= lane.window.claims
        self._claimed += 1
        self._was_full = self._was_full or self._claimed >= self._ahead
        if self._timer is None:
            self._measure()

    async def enter(self, lane_id: UUID, seconds: float) -> bool:
        """Wait for a turn, at most so many seconds; False if none came."""
        lane = self._lanes[lane_id]
        if lane.sending < lane.window.size and not lane.waiting:
            lane.sending += 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=seconds)
        except asyncio.CancelledError:
            if not turn.cancel():  # the turn came in the same moment
                self._pass_on(lane)
            raise
        return not turn.cancel()

    def leave(self, lane_id: UUID, *, answered: bool) -> None:
        """End a turn; `answered` is whether the receiver answered at all."""
        lane = self._lanes[lane_id]
        if answered:
            lane.window.answered(has_time=self._lag < _LAG_SECONDS)
        else:
            lane.window.failed()
        self._pass_on(lane)

    def end(self, lane_id: UUID) -> None:
        """Stop counting a claimed delivery."""
        lane = self._lanes[lane_id]
        lane.claimed -= 1
        lane.ended_at = asyncio.get_running_loop().time()
        self._claimed -= 1
        lane_has_room = lane.was_full and 2 * lane.claimed <= lane.window.claims
        all_have_room = self._was_full and 2 * self._claimed <= self._ahead
        if lane_has_room or all_have_room:
            lane.was_full &= not lane_has_room
            self._was_full &= not all_have_room
            self._look()

    def _pass_on(self, lane: _Lane) -> None:
        lane.sending -= 1
        lane.let_in()

    def _measure(self) -> None:
        """Measure how late the event loop is, while anything is claimed."""
        if not self._claimed:
            self._timer, self._lag = None, 0.0
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + _STEP_SECONDS
        self._timer = loop.call_at(due, self._measured, due)

    def _measured(self, due: float) -> None:
        late = asyncio.get_running_loop().time() - due
        self._lag += _WEIGHT * (late - self._lag)
        self._measure()
