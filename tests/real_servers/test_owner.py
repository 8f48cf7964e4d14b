"""A plain owner on Debian's PostgreSQL: first start, dump and restore, and causes that are told."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.commands import bare_environment
from tests.real_servers.postgres import PASSWORD, RealPostgres, make_owner, run_sql


def gateway(*arguments: str, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "gateway", *arguments),
        env={**bare_environment(), "GATEWAY_DATABASE_URL": url, **more},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def tool(server: RealPostgres, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD}
    return subprocess.run(
        (str(server.bin / name), *arguments),
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_first_start_is_told_what_an_administrator_has_to_do(server: RealPostgres) -> None:
    url = make_owner(server, "first", role=False)
    refused = gateway("db", "upgrade", url=url)
    assert refused.returncode == 5
    assert "the role gateway_tenant is missing, and the login first may not make it" in (
        refused.stderr
    )
    start = "As an administrator: "
    statements = refused.stderr[refused.stderr.index(start) + len(start) :].split(";")[:2]
    assert statements == [
        "CREATE ROLE gateway_tenant NOLOGIN NOINHERIT",
        " GRANT gateway_tenant TO first",
    ]
    assert "The schema is still at nothing" in refused.stderr
    assert run_sql(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [0]
    server.sql(*statements)
    assert gateway("db", "upgrade", url=url).returncode == 0
    status = json.loads(gateway("db", "status", "--json", url=url).stdout)
    assert status["revision"] == status["head"]


def test_an_address_of_its_own_for_migrations(server: RealPostgres) -> None:
    url = make_owner(server, "direct")
    elsewhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    done = gateway("db", "upgrade", url=elsewhere, GATEWAY_MIGRATION_DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (0, "")
    assert "The schema is at " in done.stderr


def test_a_dump_by_the_owner_is_whole_only_with_its_flag(
    server: RealPostgres, tmp_path: Path
) -> None:
    old, new = make_owner(server, "dumped"), make_owner(server, "restored")
    assert gateway("db", "upgrade", url=old).returncode == 0
    tenant = (
        "INSERT INTO tenant (id, slug, name, metadata)"
        " VALUES ('0190e3a0-0000-7000-8000-000000000000', 'acme', 'Acme', '{}')"
    )
    run_sql(old, tenant)
    dump = str(tmp_path / "dump")
    torn = tool(server, "pg_dump", "-Fc", "-f", dump, old)
    assert torn.returncode == 1
    assert "row-level security" in torn.stderr
    whole = tool(server, "pg_dump", "-Fc", "--enable-row-security", "-f", dump, old)
    assert (whole.returncode, whole.stderr) == (0, "")
    restored = tool(server, "pg_restore", "--exit-on-error", "--no-owner", "-d", new, dump)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert run_sql(new, "SELECT slug FROM tenant") == ["acme"]
    again = gateway("db", "upgrade", url=new)
    assert "already" in again.stderr


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("plain:", "plain:no"), 4, "wrong password (password authentication failed"),
        (("/plain?", "/nowhere?"), 4, "no such database ("),
        (("verify-full", "disable"), 4, "the login is refused (no pg_hba.conf entry"),
        (("localhost", "nowhere.invalid"), 7, "the host name cannot be resolved ("),
    ],
)
def test_why_it_cannot_be_used_is_one_line(
    server: RealPostgres, change: tuple[str, str], code: int, said: str
) -> None:
    url = server.url("plain", "plain")
    if not run_sql(server.url(), "SELECT count(*) FROM pg_roles WHERE rolname = 'plain'")[0]:
        make_owner(server, "plain")
    failed = gateway("db", "status", url=url.replace(*change))
    assert failed.returncode == code, failed.stderr
    error, *hint = failed.stderr.splitlines()
    assert error.startswith("Error: Postgres at ")
    assert said in error
    assert len(hint) <= 1
    assert "Idempotency-Key" not in failed.stderr


def test_too_many_connections_are_named(server: RealPostgres) -> None:
    url = make_owner(server, "crowded")
    server.sql("ALTER ROLE crowded CONNECTION LIMIT 0")
    failed = gateway("db", "status", url=url)
    assert failed.returncode == 7
    assert "too many connections (" in failed.stderr
