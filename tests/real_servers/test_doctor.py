"""`gateway doctor` on Debian's PostgreSQL, as a plain owner over TLS, and behind PgBouncer."""

import json

import pytest

from gateway.store.migration.migrate import upgrade_schema
from tests.cli.commands import call, settings_for
from tests.real_servers.postgres import RealPostgres, make_owner, sample_pgbouncer
from tests.real_servers.process import NEWER


def test_every_part_of_it_can_be_checked_by_a_plain_owner(server: RealPostgres) -> None:
    url = make_owner(server, "examined")
    upgrade_schema(url)
    found = json.loads(call("doctor", "--json", env=settings_for(url)).stdout)
    texts = {one["text"] for one in found}
    assert "The connection is encrypted: TLSv1.3." in texts
    assert any("its size needs the role pg_monitor" in text for text in texts)
    assert any(text.startswith("It takes another megabyte.") for text in texts)
    # Only what this deployment lacks: Redis, a worker, and the upstream of the settings.
    wrong = {one["subject"] for one in found if one["level"] != "ok"}
    assert wrong <= {"redis", "processes", "upstream"}
    assert not any("Could not be checked" in text for text in texts)


def test_behind_a_pooler_in_transaction_mode(server: RealPostgres) -> None:
    binary = NEWER / "pgbouncer"
    if not binary.exists():
        pytest.skip("there is no PgBouncer 1.21 or newer here")
    url = make_owner(server, "examined_pooled")
    upgrade_schema(url)
    with sample_pgbouncer(server, str(binary), "examined_pooled") as pooled:
        found = json.loads(call("doctor", "--json", env=settings_for(pooled)).stdout)
    texts = {one["text"] for one in found}
    assert "All are in force, set in each transaction, behind a pooler." in texts
    assert any(text.startswith("It takes another megabyte.") for text in texts)
    assert not any("Could not be checked" in text for text in texts)
