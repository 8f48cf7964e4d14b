"""How far a read replica is behind its primary, and whether it is a replica of it at all. Pure.

Positions in the WAL are compared, not times: on an idle primary the time of the last replayed transaction
grows old though nothing is missing, and the clocks of two servers may differ.
"""

from collections import deque
from typing import NamedTuple
from uuid import UUID

# Ten minutes of samples, taken once a second.
_MOST = 600


class ServerState(NamedTuple):
    """A server's word on itself.

    `position` counts bytes of WAL: those flushed by a primary, or replayed by a standby. `database` and `epoch`
    are those of the beacon. `cluster` is the system identifier, None where the login may not read it.
    """

    is_standby: bool
    position: int
    database: UUID
    epoch: int
    cluster: int | None


class ReplicaProgress:
    """Learns positions of the primary, and says until when a replayed position is complete."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=_MOST)

    @property
    def since(self) -> float | None:
        """The time of the oldest sample that is kept."""
        return self._samples[0][0] if self._samples else None

    def note_primary(self, at: float, position: int) -> None:
        """Add the position that the primary had at a time in seconds, or later."""
        if self._samples and self._samples[-1][1] == position:
            self._samples.pop()  # an idle primary: nothing was missing until now
        self._samples.append((at, position))

    def complete_at(self, position: int) -> float | None:
        """The last known time before which everything committed is in a replayed position."""
        known = (at for at, flushed in reversed(self._samples) if flushed <= position)
        return next(known, None)

    def forget(self) -> None:
        """Drop all samples: they are of another timeline."""
        self._samples.clear()


def mismatch(primary: ServerState, replica: ServerState) -> str:
    """Why one server is no replica of the other; empty if it may be one.

    The primary must be asked last, or have been behind no position of the replica.
    """
    clusters = (primary.cluster, replica.cluster)
    faults = (
        (primary.is_standby, "the server of GATEWAY_DATABASE_URL is a standby itself"),
        (not replica.is_standby, "it is no standby: it was promoted, or follows no primary"),
        (
            None not in clusters and primary.cluster != replica.cluster,
            f"it belongs to another Postgres cluster: {replica.cluster} and not {primary.cluster}",
        ),
        (replica.database != primary.database, "it holds the database of another gateway"),
        (
            replica.epoch != primary.epoch,
            "it holds another generation of the database: the primary was restored or moved",
        ),
        (
            replica.position > primary.position,
            "it is ahead of the primary, so it follows another one",
        ),
    )
    return next((text for is_fault, text in faults if is_fault), "")


def is_near_enough(lag: float, most: float, *, came_late: bool) -> bool:
    """Whether a replica's lag allows reads; one that lagged too far must come to half of the limit first."""
    return lag <= (most / 2 if came_late else most)
