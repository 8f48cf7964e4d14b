"""`gateway db partition`, on a real Postgres."""

import json
from collections.abc import Iterator

import pytest

from gateway.core.months import PartitionMonth
from tests.cli.commands import call, settings_for
from tests.conftest import at_database, run_sql
from tests.partitioned import month_before

NAME = "t_cli_partition"
_FILL = """
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at, completed_at)
SELECT overlay(gen_random_uuid()::text PLACING substr('{first}', 1, 13) FROM 1 FOR 13)::uuid, gen_random_uuid(),
  'succeeded', 'n', 'w', '{{}}', '{{}}', now(), now()
"""


@pytest.fixture
def single(postgres: str, migrated_template: str) -> Iterator[str]:
    """A migrated database."""
    run_sql(
        postgres,
        f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)",
        f"CREATE DATABASE {NAME} TEMPLATE {migrated_template}",
    )
    url = at_database(postgres, NAME)
    call("db", "partition", "off", env=settings_for(url))
    yield url
    run_sql(postgres, f"DROP DATABASE {NAME} WITH (FORCE)")


def partition(url: str, *arguments: str, status: int = 0) -> tuple[str, str]:
    """What the command prints as its result, and what it says."""
    done = call("db", "partition", *arguments, env=settings_for(url))
    assert done.exit_code == status, done.stderr
    return done.stdout, done.stderr


def test_on_and_off_say_what_they_do_before_and_after(single: str) -> None:
    _, planned = partition(single, "on", "--dry-run")
    assert planned.startswith("Would read ")
    assert "The jobs are in one table." in partition(single, "status")[1]
    _, said = partition(single, "on")
    assert "The jobs are partitioned; from " in said
    assert "gateway db partition maintain" in said
    for more in ([], ["--dry-run"]):
        assert "partitioned already" in partition(single, "on", *more)[1]
    assert "Would lock the jobs: " in partition(single, "off", "--dry-run")[1]
    assert "The jobs are in one table. They were locked for " in partition(single, "off")[1]
    assert "Nothing to do" in partition(single, "off")[1]
    assert "Nothing to do" in partition(single, "off", "--dry-run")[1]
    assert "Nothing to do" in partition(single, "maintain")[1]


def test_the_status_has_each_partition(single: str) -> None:
    partition(single, "on")
    shown = json.loads(partition(single, "status", "--json")[0])
    names = [one["partition"] for one in shown]
    assert len(names) == 15
    assert names[0] == "job_old"
    assert {"job_default", "job_label_old", "job_event_old"} <= set(names)
    assert all(one["size"] > 0 for one in shown)


def test_maintenance_tells_what_it_made_and_what_stays(single: str) -> None:
    partition(single, "on")
    done = json.loads(partition(single, "maintain", "--json")[0])
    assert (done["made"], done["dropped"]) == ([], [])
    assert (done["oldest"], done["because"]) == ("old", "it still takes new jobs")


def test_a_job_without_a_month_is_told_and_moved(single: str) -> None:
    partition(single, "on")
    late = PartitionMonth.of(month_before(0).begins.replace(year=month_before(0).year + 1))
    run_sql(single, _FILL.format(first=late.first))
    _, said = partition(single, "status", status=1)
    assert "jobs are in the default partition" in said
    doctor = call("doctor", env=settings_for(single))
    assert "Jobs are in the default partition" in doctor.stdout


def test_much_to_copy_wants_a_yes(single: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.operate.partition._COPIES_UNASKED", 0)
    partition(single, "on")
    _, said = partition(single, "off", status=5)
    assert "the jobs would be locked for long" in said
    assert "--yes" in said
    assert "partitioned already" in partition(single, "on")[1]
    assert "in one table" in partition(single, "off", "--yes")[1]


def test_what_a_killed_run_left_is_told_and_taken_back(single: str) -> None:
    check = "ALTER TABLE job ADD CONSTRAINT job_old_bound CHECK (id IS NOT NULL) NOT VALID"
    run_sql(single, check)
    assert "ended half way" in partition(single, "status", status=1)[1]
    assert "ended half way" in call("doctor", env=settings_for(single)).stdout
    partition(single, "off")
    assert "ended half way" not in partition(single, "status")[1]


def test_a_view_is_named_and_the_exit_status_says_refused(single: str) -> None:
    run_sql(single, "CREATE VIEW recent AS SELECT id FROM job")
    _, said = partition(single, "on", status=5)
    assert "the view recent" in said


def test_a_schema_that_is_behind_is_refused(postgres: str) -> None:
    run_sql(postgres, f"DROP DATABASE IF EXISTS {NAME}_b", f"CREATE DATABASE {NAME}_b")
    for command in ("on", "off", "status", "maintain"):
        _, said = partition(at_database(postgres, f"{NAME}_b"), command, status=5)
        assert "gateway db upgrade" in said
    run_sql(postgres, f"DROP DATABASE {NAME}_b WITH (FORCE)")


def test_a_downgrade_is_refused_while_there_are_partitions(single: str) -> None:
    partition(single, "on")
    refused = call("db", "downgrade", "--yes", env=settings_for(single))
    assert refused.exit_code == 5
    assert "gateway db partition off" in refused.stderr
    assert "Nothing to do" in call("db", "upgrade", env=settings_for(single)).stderr
