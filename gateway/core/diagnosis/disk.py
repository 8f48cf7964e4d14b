"""What the doctor says of the disk of Postgres: our tables, its log (WAL), and what holds the log back."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.core.diagnosis.findings import DoctorFinding, doubtful, fine, size_text, wrong

# Dead rows count as bloat when there are many of them, and many for each live one.
_DEAD_ROWS = 20_000
_DEAD_SHARE = 0.5
# Checkpoints let the log grow somewhat beyond max_wal_size.
_WAL_SHARE = 2
_DAY_SECONDS = 86_400
_SHOWN_SECONDS = 3 * 3600


class TableFacts(NamedTuple):
    """A table of the gateway: its size in bytes, and its rows as autovacuum counts them.

    `vacuumed` are the seconds since the last vacuum, None if the statistics know of none.
    """

    name: str
    size: int
    rows: int
    dead: int
    vacuumed: float | None


class DiskFacts(NamedTuple):
    """The log and the temporary files, in bytes.

    `wal` is the size of the log, None if the login may not see it. `daily_wal` is how much of it is
    written a day, None within an hour after the statistics began, and `temp` is what sorts of this database
    have spilled to disk since then.
    `failed_segment` is the one that the archiver fails on, since `failed` seconds.
    """

    wal: int | None
    most_wal: int
    daily_wal: int | None
    temp: int
    failed_segment: str | None
    failed: float


class SlotFacts(NamedTuple):
    """A replication slot, and how many bytes of the log it holds back."""

    name: str
    is_active: bool
    status: str
    held: int


def judge_tables(
    tables: Sequence[TableFacts], broken_indexes: Sequence[str]
) -> Iterator[DoctorFinding]:
    """Judge sizes, bloat, and indexes that an interrupted CREATE INDEX CONCURRENTLY left invalid."""
    largest = sorted(tables, key=lambda one: one.size, reverse=True)[:3]
    sizes = ", ".join(f"{one.name} {size_text(one.size)}" for one in largest)
    yield fine("tables", f"The largest: {sizes}.")
    for one in tables:
        if one.dead > max(_DEAD_ROWS, _DEAD_SHARE * one.rows):
            yield doubtful(
                "tables",
                f"{one.name} has {one.dead:,} dead rows and {one.rows:,} live ones; "
                f"{_last_vacuum(one.vacuumed)}.",
                "End old transactions, then let autovacuum work: see the finding on transactions.",
            )
    for name in broken_indexes:
        yield wrong(
            "tables", f"The index {name} is invalid.", f"REINDEX INDEX CONCURRENTLY {name};"
        )


def judge_disk(disk: DiskFacts, slots: Sequence[SlotFacts]) -> Iterator[DoctorFinding]:
    """Judge the log of Postgres, and what keeps it from being removed."""
    seen = "its size needs the role pg_monitor" if disk.wal is None else size_text(disk.wal)
    daily = "" if disk.daily_wal is None else f", {size_text(disk.daily_wal)} a day"
    yield fine(
        "disk",
        f"The log (WAL): {seen}, max_wal_size {size_text(disk.most_wal)}{daily}; temporary files so far: "
        f"{size_text(disk.temp)}.",
    )
    if disk.failed_segment:
        yield doubtful(
            "disk",
            f"The archiver has failed on {disk.failed_segment} for {disk.failed:.0f} s, so the log (WAL) "
            "grows.",
            "Mend archive_command or its target: the log of Postgres says why it fails.",
        )
    holding = [one for one in slots if one.held > disk.most_wal or one.status == "lost"]
    for one in holding:
        yield _judge_slot(one)
    if disk.wal and disk.wal > _WAL_SHARE * disk.most_wal and not holding:
        yield doubtful(
            "disk",
            f"The log (WAL) takes {size_text(disk.wal)}, and max_wal_size is {size_text(disk.most_wal)}.",
            "Look for a failing archiver, wal_keep_size, or a checkpoint that does not end.",
        )


def judge_free(*, has_written: bool) -> DoctorFinding:
    """Say what is known of free space."""
    hidden = "How much is free cannot be seen over SQL: watch the disk on its host."
    if has_written:
        return fine("disk", f"It takes another megabyte. {hidden}")
    return fine("disk", f"No write was tried: the login may not make temporary tables. {hidden}")


def _judge_slot(slot: SlotFacts) -> DoctorFinding:
    drop = f"SELECT pg_drop_replication_slot('{slot.name}');"
    if slot.status == "lost":
        return doubtful(
            "disk",
            f"The replication slot {slot.name} has lost its log (WAL): its standby cannot go on.",
            f"Set the standby up again, and drop the slot: {drop}",
        )
    state = "is in use and" if slot.is_active else "is not in use and"
    return doubtful(
        "disk",
        f"The replication slot {slot.name} {state} holds back {size_text(slot.held)} of the log (WAL): "
        "the disk fills.",
        f"Start what reads it (a standby, a change capture), or drop it: {drop} The next checkpoint "
        "frees the space.",
    )


def _last_vacuum(seconds: float | None) -> str:
    if seconds is None:
        return "no vacuum is known"
    if seconds < _SHOWN_SECONDS:
        return f"the last vacuum was {seconds / 60:.0f} minutes ago"
    if seconds < 2 * _DAY_SECONDS:
        return f"the last vacuum was {seconds / 3600:.0f} hours ago"
    return f"the last vacuum was {seconds / _DAY_SECONDS:.0f} days ago"
