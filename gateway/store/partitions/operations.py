"""What `gateway db partition` does, each on the connection of the tables' owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.core.months import PartitionMonth
from gateway.store.migration.migration_lock import Tell
from gateway.store.migration.preflight import DatabaseRefusedError
from gateway.store.partitions import switch_off, switch_on
from gateway.store.partitions.definition import KEY_OF
from gateway.store.partitions.layout import (
    DEFAULT,
    Partition,
    bytes_of,
    has_rows,
    is_partitioned,
    partitions_of,
)
from gateway.store.partitions.months import Maintained, MonthKeeper
from gateway.store.partitions.session import owner_session
from gateway.store.partitions.switch_on import MONTHS_AHEAD, Switched

# A process of another version may insert jobs with a statement that needs the unique index.
_OTHERS = """
SELECT DISTINCT version FROM process
WHERE version <> $1 AND stopped_at IS NULL AND seen_at > now() - interval '1 minute'"""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the jobs are stored: `partitions` is empty for a single table.

    `size` is that of all three tables, `to_copy` that of the partitions that `off` has to copy. `late` means
    that the default partition has rows, `unfinished` that a run of `on` ended half way.
    """

    partitions: Sequence[Partition]
    size: int
    to_copy: int
    late: bool
    unfinished: bool

    @property
    def is_on(self) -> bool:
        """Whether the jobs are partitioned."""
        return bool(self.partitions)


async def layout(url: str, tell: Tell) -> Layout:
    """Read how the jobs are stored; raises Unavailable."""
    async with owner_session(url, tell) as session:
        return await _layout(session)


async def turn_on(
    url: str, tell: Tell, month: PartitionMonth, version: str, *, ahead: int = MONTHS_AHEAD
) -> Switched | None:
    """Partition the jobs from a month on, `ahead` months at first; None if they are partitioned already."""
    async with owner_session(url, tell) as session:
        if await is_partitioned(session):
            return None
        if other := await session.fetchval(_OTHERS, version):
            raise DatabaseRefusedError(
                f"a process of version {other} is alive, and only {version} is known to work on partitions",
                "Replace or stop it first; `gateway status` names it.",
            )
        return await switch_on.switch_on(session, tell, month, ahead)


async def turn_off(url: str, tell: Tell) -> float | None:
    """Go back to one table; returns how many seconds it was locked, None if there were no partitions."""
    async with owner_session(url, tell) as session:
        if await is_partitioned(session):
            return await switch_off.switch_off(session, tell)
        await switch_on.remove_proofs(session, tell)
        return None


async def maintain(
    url: str, tell: Tell, now: datetime, keep_days: int, *, dry_run: bool
) -> Maintained | None:
    """Make the months to come and drop those that nothing needs; None without partitions."""
    async with owner_session(url, tell) as session:
        if not await is_partitioned(session):
            return None
        return await MonthKeeper(session, tell, now, keep_days).maintain(dry_run=dry_run)


async def _layout(session: Any) -> Layout:  # noqa: ANN401
    is_on = await is_partitioned(session)
    found = [one for table in KEY_OF for one in await partitions_of(session, table)]
    return Layout(
        found,
        sum(one.size for one in found) if is_on else await bytes_of(session, KEY_OF),
        await switch_off.bytes_to_copy(session) if is_on else 0,
        is_on and await has_rows(session, f"job_{DEFAULT}"),
        not is_on and await switch_on.is_unfinished(session),
    )
