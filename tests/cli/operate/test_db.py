"""`gateway db`, on a real Postgres."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from gateway.store.migration.revisions import known_revisions, newest_revision
from tests.cli.commands import bare_environment, call, run, settings_for
from tests.conftest import at_database, run_sql

NAME = "t_cli_db"


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """A database in which nothing was done yet."""
    run_sql(postgres, f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)", f"CREATE DATABASE {NAME}")
    yield at_database(postgres, NAME)
    run_sql(postgres, f"DROP DATABASE {NAME} WITH (FORCE)")


def test_upgrade_needs_only_the_address_of_the_database(empty_database: str) -> None:
    env = {"GATEWAY_DATABASE_URL": empty_database}
    first = run("db", "upgrade", env=env)
    assert (first.returncode, first.stdout) == (0, "")
    assert re.fullmatch(r"The schema is at \w+\.\n", first.stderr)
    again = run("db", "upgrade", env=env)
    assert again.returncode == 0
    assert re.fullmatch(r"Nothing to do: the schema is at \w+ already\.\n", again.stderr)


def test_two_upgrades_at_once_take_turns(empty_database: str) -> None:
    processes = [
        subprocess.Popen(
            (sys.executable, "-m", "gateway", "db", "upgrade"),
            env={**bare_environment(), "GATEWAY_DATABASE_URL": empty_database},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert [code for _, code in ends] == [0, 0], ends


def test_status_tells_whether_the_schema_is_behind(empty_database: str, database_url: str) -> None:
    behind = call("db", "status", "--json", env=settings_for(empty_database))
    assert behind.exit_code == 5
    shown = json.loads(behind.stdout)
    assert shown["revision"] is None
    assert "gateway db upgrade" in behind.stderr
    good = call("db", "status", "--json", env=settings_for(database_url))
    assert good.exit_code == 0
    assert json.loads(good.stdout) == {"revision": shown["head"], "head": shown["head"]}


def test_a_schema_that_is_newer_than_the_version_is_told_in_a_sentence(empty_database: str) -> None:
    env = settings_for(empty_database)
    assert call("db", "upgrade", env=env).exit_code == 0
    head = newest_revision()
    run_sql(empty_database, "UPDATE alembic_version SET version_num = '9999'")
    sentence = f"the schema is at 9999, which is newer than {head}"
    upgraded = call("db", "upgrade", env=env)
    assert (upgraded.exit_code, upgraded.stdout) == (0, "")
    assert upgraded.stderr.startswith(f"Nothing to do: {sentence}")
    assert upgraded.stderr.count("\n") == 1
    status = call("db", "status", "--json", env=env)
    assert status.exit_code == 0
    assert json.loads(status.stdout) == {"revision": "9999", "head": head}
    assert sentence in status.stderr
    refused = call("db", "downgrade", "--yes", env=env)
    assert refused.exit_code == 5
    assert "the schema is at 9999, which this version does not know" in refused.stderr
    assert "Use the version of the gateway that made this schema." in refused.stderr
    assert "still at 9999" in refused.stderr


def test_a_schema_of_something_else_is_refused_in_a_sentence(empty_database: str) -> None:
    env = settings_for(empty_database)
    run_sql(
        empty_database,
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('00ff')",
    )
    for command in (("upgrade",), ("status",), ("downgrade", "--yes")):
        refused = call("db", *command, env=env)
        assert refused.exit_code == 5
        assert "the schema is at 00ff, which this version does not know" in refused.stderr
        assert "Use the version of the gateway that made this schema." in refused.stderr


def test_a_downgrade_goes_back_by_one_or_to_a_revision(empty_database: str) -> None:
    env = settings_for(empty_database)
    nothing = call("db", "downgrade", "--yes", env=env)
    assert (nothing.exit_code, nothing.stderr) == (
        0,
        "Nothing to do: the database has no schema.\n",
    )
    assert call("db", "upgrade", env=env).exit_code == 0
    first, *_, third, second, _ = known_revisions()
    unsure = call("db", "downgrade", env=env)
    assert unsure.exit_code == 2
    assert "Use --yes" in unsure.stderr
    one = call("db", "downgrade", "--yes", env=env)
    assert (one.exit_code, one.stderr) == (0, f"The schema is at {second}.\n")
    two = call("db", "downgrade", third, "--yes", env=env)
    assert (two.exit_code, two.stderr) == (0, f"The schema is at {third}.\n")
    again = call("db", "downgrade", second, "--yes", env=env)
    assert (again.exit_code, again.stderr) == (
        0,
        f"Nothing to do: the schema is at {third} already.\n",
    )
    unknown = call("db", "downgrade", "0999", "--yes", env=env)
    assert unknown.exit_code == 2
    assert f"'0999' is no revision: they are {first} to " in unknown.stderr
    assert call("db", "downgrade", first, "--yes", env=env).exit_code == 0
    last = call("db", "downgrade", "--yes", env=env)
    assert last.exit_code == 5
    assert f"{first} is the first revision" in last.stderr


def test_a_percent_sign_in_the_address_does_no_harm(empty_database: str) -> None:
    escaped = empty_database.replace(NAME, f"{NAME[:-1]}%{ord(NAME[-1]):x}")
    upgraded = call("db", "upgrade", env=settings_for(escaped))
    assert (upgraded.exit_code, upgraded.stdout) == (0, "")


def test_a_wrong_password_is_one_line(postgres: str) -> None:
    password = urlsplit(postgres).password or ""
    refused = call("db", "status", env=settings_for(postgres.replace(password, "hunter2")))
    assert refused.exit_code == 4
    assert "wrong password (password authentication failed" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert refused.stderr.count("\n") == 2  # what and why, then what to do


def test_a_refused_migration_is_one_line(empty_database: str) -> None:
    run_sql(empty_database, "CREATE TABLE job (id int)")
    refused = call("db", "upgrade", env=settings_for(empty_database))
    assert refused.exit_code == 5
    assert "already exists" in refused.stderr
    assert "The schema is still at nothing" in refused.stderr
    assert refused.stderr.count("\n") == 2


def test_a_database_that_is_away() -> None:
    away = call("db", "upgrade", env=settings_for("postgresql://u:p@127.0.0.1:1/x"))
    assert away.exit_code == 7
    assert away.stderr == "Error: Postgres at 127.0.0.1:1: connection refused\n"


def test_upgrade_waits_for_a_postgres_that_is_starting(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"{NAME}_owner"
    run_sql(
        empty_database,
        "DO $$ BEGIN CREATE ROLE gateway_tenant NOLOGIN; "
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'",
        f"GRANT gateway_tenant TO {role}",
        f"ALTER DATABASE {NAME} OWNER TO {role}",
        f"ALTER SCHEMA public OWNER TO {role}",
        f"ALTER DATABASE {NAME} CONNECTION LIMIT 0",
    )
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        run_sql(empty_database, f"ALTER DATABASE {NAME} CONNECTION LIMIT -1")

    monkeypatch.setattr(time, "sleep", pause)
    server = urlsplit(empty_database)
    url = server._replace(netloc=f"{role}:hunter2@{server.hostname}:{server.port}").geturl()
    try:
        waited = call("db", "upgrade", "--wait", "30", env=settings_for(url))
        assert (waited.exit_code, len(pauses)) == (0, 1)
    finally:
        run_sql(empty_database, f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP ROLE {role}")


_TENANT = """
INSERT INTO tenant (id, slug, name, metadata)
VALUES ('0190e3a0-0000-7000-8000-000000000000', 'drifted', 'Drifted', '{}')"""
_ENDED = """
INSERT INTO job (id, tenant_id, state, name, batch_name, workflow, params, metadata, created_at,
  deadline_at, submitted_at, completed_at)
SELECT id, id, 'succeeded', 'a', 'b', 'flow', '{}', '{}', '2026-03-04 05:06:00Z', now(),
  '2026-03-04 05:06:07Z', '2026-03-04 05:07:08Z' FROM tenant WHERE slug = 'drifted'"""


# --- Usage --------------------------------------------------------------------------------------


def test_usage_that_agrees_with_the_rows_is_quiet(database_url: str) -> None:
    checked = call("db", "check-usage", env=settings_for(database_url))
    assert (checked.exit_code, checked.stdout) == (0, "")
    assert "agree" in checked.stderr
    as_json = call("db", "check-usage", "--json", env=settings_for(database_url))
    assert json.loads(as_json.stdout) == []


def test_usage_that_differs_is_told_and_put_right(database_url: str) -> None:
    run_sql(database_url, _TENANT, _ENDED)
    env = settings_for(database_url)
    found = call("db", "check-usage", env=env)
    assert found.exit_code == 1
    heading, line = found.stdout.splitlines()
    assert heading.split()[:4] == ["TENANT", "ROLL_UP", "AT", "WORKFLOW"]
    assert line.split() == [
        *("drifted", "hourly", "2026-03-04T05:00:00+00:00", "flow", "SUCCEEDED", "b"),
        *("1", "1", "0", "0", "0"),
    ]
    assert "--fix" in found.stderr
    fixed = call("db", "check-usage", "--fix", "--json", env=env)
    assert fixed.exit_code == 0
    assert [(one["tenant"], one["jobs"]) for one in json.loads(fixed.stdout)] == [("drifted", 1)]
    assert "are corrected" in fixed.stderr
    assert call("db", "check-usage", env=env).exit_code == 0


def test_usage_of_a_schema_that_is_behind_cannot_be_checked(empty_database: str) -> None:
    refused = call("db", "check-usage", env=settings_for(empty_database))
    assert refused.exit_code == 5


# --- Pruning ------------------------------------------------------------------------------------

_OLD = """
INSERT INTO tenant (id, slug, name, metadata)
SELECT ('01800000-0000-7000-8000-00000000000' || n)::uuid, 'pruned-' || n, 'Old', '{}'
FROM generate_series(1, 2) AS n"""
_OLD_JOBS = """
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at, created_at,
  completed_at)
SELECT t.id, t.id, 'succeeded', 'a', 'flow', '{}', '{}', now(), '2022-04-04', '2022-04-05'
FROM tenant t WHERE t.slug LIKE 'pruned-%'"""


def test_rows_past_their_retention_are_counted_then_deleted(database_url: str) -> None:
    run_sql(database_url, _OLD, _OLD_JOBS)
    env = {**settings_for(database_url), "GATEWAY_KEEP_JOBS_DAYS": "30"}
    for flags, word in ((["--dry-run"], "Would delete: "), ([], "Deleted: ")):
        told = call("db", "prune", "--json", *flags, env=env)
        assert told.exit_code == 0
        rows = [one for one in json.loads(told.stdout) if one["tenant"].startswith("pruned-")]
        assert [(one["tenant"], one["jobs"]) for one in rows] == [("pruned-1", 1), ("pruned-2", 1)]
        assert told.stderr.startswith(word)
    left = call("db", "prune", "--tenant", "pruned-1", "--dry-run", "--json", env=env)
    assert [one["jobs"] for one in json.loads(left.stdout)] == [0]
    assert left.stderr == "Nothing is past its retention.\n"
    assert call("db", "prune", "--tenant", "nobody", env=env).exit_code == 3
