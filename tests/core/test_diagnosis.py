"""What the doctor says of facts: the level, and advice wherever something is wrong."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from gateway.core.diagnosis.disk import (
    DiskFacts,
    SlotFacts,
    TableFacts,
    judge_disk,
    judge_free,
    judge_tables,
)
from gateway.core.diagnosis.findings import DoctorFinding, Level, size_text
from gateway.core.diagnosis.partitions import PartitionFacts, judge_partitions
from gateway.core.diagnosis.server import (
    ServerFacts,
    away_advice,
    judge_clock,
    judge_guards,
    judge_latency,
    judge_replica,
    judge_schema,
    judge_server,
)
from gateway.core.diagnosis.transactions import (
    OpenTransaction,
    judge_sweep_lock,
    judge_transactions,
)
from gateway.core.explain.failure_advice import WAIT_ADVICE
from gateway.core.months import PartitionMonth
from gateway.core.waits_for import WaitCode

SOUND = ServerFacts(
    version=170_002,
    login="gateway",
    is_encrypted=True,
    protocol="TLSv1.3",
    is_replica=False,
    connections=20,
    most_connections=100,
    size=2_500_000_000,
    frozen_age=100_000_000,
    has_autovacuum=True,
    sync_standbys="",
    standbys=0,
)
DISK = DiskFacts(96_000_000, 1_000_000_000, 3_000_000_000, 0, None, 0.0)
SESSION = OpenTransaction(41, None, "shop", "bob", "psql", "idle in transaction", 90.0)


def wrong(findings: Iterable[DoctorFinding]) -> list[tuple[Level, str]]:
    found = [one for one in findings if one.level is not Level.OK]
    assert all(one.advice for one in found)
    return [(one.level, one.text) for one in found]


def test_a_sound_server() -> None:
    first, second = judge_server(SOUND, is_local=False)
    assert first.text == "Postgres 17.2, 2 GB, as gateway"
    assert second.text == "The connection is encrypted: TLSv1.3."


@pytest.mark.parametrize(
    ("changes", "level", "word"),
    [
        ({"version": 140_005}, Level.ERROR, "Postgres 14 is too old"),
        ({"is_replica": True}, Level.ERROR, "standby"),
        ({"is_encrypted": False, "protocol": None}, Level.WARNING, "not encrypted"),
        ({"connections": 90}, Level.WARNING, "90 of 100 connections"),
        ({"frozen_age": 1_600_000_000}, Level.ERROR, "1,600,000,000 transactions old"),
        ({"has_autovacuum": False}, Level.WARNING, "autovacuum is off"),
        ({"sync_standbys": "b, c"}, Level.ERROR, "synchronous_standby_names is b, c"),
    ],
)
def test_what_is_wrong_with_a_server(changes: dict[str, object], level: Level, word: str) -> None:
    [(found, text)] = wrong(judge_server(SOUND._replace(**changes), is_local=False))
    assert found is level
    assert word in text


def test_a_standby_that_commits_wait_for_is_there() -> None:
    facts = SOUND._replace(sync_standbys="*", standbys=1)
    assert wrong(judge_server(facts, is_local=True)) == []


def test_the_advice_of_a_cause() -> None:
    assert "GRANT gateway_tenant" in away_advice("the login may not take on the role of tenants")
    assert away_advice("something new").startswith("Check GATEWAY_DATABASE_URL")


def test_the_schema_of_this_version_of_a_newer_one_and_of_an_older_one() -> None:
    [same] = judge_schema("0031", "0031")
    assert (same.level, "0031" in same.text) == (Level.OK, True)
    [(level, text)] = wrong(judge_schema("0032", "0031"))
    assert level is Level.WARNING
    assert "at 0032" in text
    assert [*judge_schema("0030", "0031"), *judge_schema(None, "0031")] == []


def test_a_connection_on_the_same_host_needs_no_encryption() -> None:
    assert wrong(judge_server(SOUND._replace(is_encrypted=False), is_local=True)) == []


def test_each_setting_that_is_not_in_force_is_named() -> None:
    wanted = {"lock_timeout": "5s", "jit": "off"}
    assert wrong(judge_guards(wanted, wanted, is_pooled=False)) == []
    [fine] = judge_guards(wanted, wanted, is_pooled=True)
    assert "behind a pooler" in fine.text
    assert wrong(judge_guards(wanted, {"lock_timeout": "0"}, is_pooled=True)) == [
        (Level.ERROR, "lock_timeout is 0 and not 5s."),
        (Level.ERROR, "jit is unset and not off."),
    ]


def test_tables_with_many_dead_rows_and_invalid_indexes_are_told() -> None:
    tables = [
        TableFacts("job", 5_000_000, 30_000, 15_001, None),
        TableFacts("delivery", 9_000_000, 30_000, 20_001, 600.0),
        TableFacts("event", 1_000, 1_000_000, 400_000, 600.0),
    ]
    first, *rest = judge_tables(tables, ["job_due"])
    assert first.text == "The largest: delivery 9 MB, job 5 MB, event 1 kB."
    assert wrong(rest) == [
        (
            Level.WARNING,
            "delivery has 20,001 dead rows and 30,000 live ones; the last vacuum was 10 minutes ago.",
        ),
        (Level.ERROR, "The index job_due is invalid."),
    ]
    assert rest[-1].advice == "REINDEX INDEX CONCURRENTLY job_due;"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "no vacuum is known"), (5 * 3600.0, "5 hours ago"), (3 * 86400.0, "3 days ago")],
)
def test_when_a_bloated_table_was_last_vacuumed(seconds: float | None, words: str) -> None:
    [(_, text)] = wrong(judge_tables([TableFacts("job", 1, 0, 20_001, seconds)], []))
    assert words in text


def test_a_log_that_is_not_held_back() -> None:
    slots = [SlotFacts("standby", True, "reserved", 900_000_000)]
    [found] = judge_disk(DISK, slots)
    assert found.text == (
        "The log (WAL): 96 MB, max_wal_size 1 GB, 3 GB a day; temporary files so far: 0 B."
    )
    [hidden] = judge_disk(DISK._replace(wal=None, daily_wal=None), [])
    assert "pg_monitor" in hidden.text
    assert "a day" not in hidden.text


def test_what_holds_the_log_back() -> None:
    held = SlotFacts("old", False, "extended", 1_500_000_000)
    assert wrong(judge_disk(DISK, [held, held._replace(name="slow", is_active=True)])) == [
        (
            Level.WARNING,
            "The replication slot old is not in use and holds back 2 GB of the log (WAL): the disk fills.",
        ),
        (
            Level.WARNING,
            "The replication slot slow is in use and holds back 2 GB of the log (WAL): the disk fills.",
        ),
    ]
    [(_, lost)] = wrong(judge_disk(DISK, [SlotFacts("gone", False, "lost", 0)]))
    assert "gone has lost its log" in lost
    failing = DISK._replace(failed_segment="00A1", failed=90.0)
    [(_, archiver)] = wrong(judge_disk(failing, []))
    assert archiver.startswith("The archiver has failed on 00A1 for 90 s")
    [(_, large)] = wrong(judge_disk(DISK._replace(wal=2_500_000_000), []))
    assert large == "The log (WAL) takes 2 GB, and max_wal_size is 1 GB."


@pytest.mark.parametrize(
    ("has_written", "words"), [(True, "another megabyte"), (False, "No write")]
)
def test_free_space_is_not_seen(has_written: bool, words: str) -> None:
    found = judge_free(has_written=has_written)
    assert words in found.text
    assert "cannot be seen over SQL" in found.text


def test_who_holds_the_lock_of_the_sweep_is_told() -> None:
    [(_, text)] = wrong(judge_sweep_lock([SESSION]))
    assert text == (
        "Session 41 of bob in database shop, application psql has held the lock of the sweep for 90 s:"
        " no worker can sweep."
    )
    [(_, hidden)] = wrong(judge_sweep_lock([SESSION._replace(seconds=None)]))
    assert "lock of the sweep: no worker" in hidden


def test_transactions_that_hold_the_feed_are_told_with_the_way_to_end_them() -> None:
    assert wrong(judge_transactions([SESSION._replace(seconds=29.0)])) == []
    prepared = SESSION._replace(pid=None, gid="half", application="", seconds=40.0)
    session, half = judge_transactions([SESSION, prepared])
    assert session.text == (
        "Session 41 of bob in database shop, application psql has been open for 90 s: the event feed"
        " shows nothing newer."
    )
    assert "pg_terminate_backend(41)" in session.advice
    assert "ROLLBACK PREPARED 'half'" in half.advice


def test_transactions_whose_age_is_hidden_are_counted_and_accuse_nobody() -> None:
    [found] = judge_transactions([SESSION._replace(seconds=None)])
    assert found.level is Level.OK
    assert found.text.startswith("1 of other logins are open")
    assert "pg_read_all_stats" in found.text
    assert len(wrong(judge_transactions([SESSION, SESSION._replace(seconds=None)]))) == 1


@pytest.mark.parametrize(
    ("ahead", "words"), [(1.5, "1.5 s ahead of"), (-2.0, "2.0 s behind"), (0.9, "")]
)
def test_the_clock(ahead: float, words: str) -> None:
    found = judge_clock(ahead)
    assert (found.level is Level.WARNING) == bool(words)
    assert words in found.text


def test_a_server_that_is_far_away() -> None:
    assert judge_latency("redis", 0.0004).level is Level.OK
    assert wrong([judge_latency("redis", 0.07)]) == [(Level.WARNING, "A round trip takes 70.0 ms.")]


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (1_500, "2 kB"), (3 * 10**12, "3 TB"), (10**16, "10000 TB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_there_is_advice_for_everything_that_a_job_may_wait_for() -> None:
    assert set(WAIT_ADVICE) == set(WaitCode)
    assert all(advice.who and advice.what for advice in WAIT_ADVICE.values())


def test_partitions_that_are_there_and_that_are_missing() -> None:
    now = datetime(2026, 11, 30, tzinfo=UTC)
    end = PartitionMonth(2027, 3).first

    def judged(facts: PartitionFacts) -> list[tuple[Level, str]]:
        return [(one.level, one.text) for one in judge_partitions(facts, now)]

    assert judged(PartitionFacts(None, False, False)) == []
    ((level, text),) = judged(PartitionFacts(end, False, False))
    assert (level, "until 2027-03-01" in text) == (Level.OK, True)
    ((level, text),) = judged(PartitionFacts(PartitionMonth(2026, 12).first, False, False))
    assert (level, "after 2026-12-01" in text) == (Level.WARNING, True)
    ((level, text),) = judged(PartitionFacts(end, True, False))
    assert (level, "default partition" in text) == (Level.ERROR, True)
    ((level, text),) = judged(PartitionFacts(None, False, True))
    assert (level, "half way" in text) == (Level.ERROR, True)


def test_a_replica_that_is_used_and_one_that_is_not():
    used = judge_replica("db2:5432", "", 0.04)
    assert (used.level, used.text) == (
        Level.OK,
        "db2:5432 is a standby of the primary, 0.0 s behind.",
    )
    left = judge_replica("db2:5432", "it lags by 7.1 s", 7.1)
    assert (left.level, left.text) == (
        Level.WARNING,
        "db2:5432 is not used: it lags by 7.1 s. The primary serves all reads.",
    )
    assert "GATEWAY_READ_DATABASE_URL" in left.advice
