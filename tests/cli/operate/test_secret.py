"""`gateway secret`: rotate the master key as an operator does, step by step."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.crypto.cipher import AssociatedData, Cipher
from tests.cli.commands import call, run, settings_for
from tests.conftest import run_sql

OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
OLD_ID, NEW_ID = (number.hex() for number in Cipher([b"o" * 32, b"n" * 32]).numbers)


@pytest.fixture
def env(database_url: str, redis_url: str) -> Mapping[str, str]:
    run_sql(
        database_url, "DELETE FROM credential", "DELETE FROM signing_secret", "DELETE FROM tenant"
    )
    tenant, row = (f"0000000{n}-0000-7000-8000-000000000000" for n in (1, 2))
    value = (
        Cipher([b"o" * 32])
        .seal(b"api-key", AssociatedData("credential", tenant, row, 1), bytes(12))
        .hex()
    )
    run_sql(
        database_url,
        f"INSERT INTO tenant (id, slug, name, metadata) VALUES ('{tenant}', 'acme', 'Acme', '{{}}')",
        "INSERT INTO credential (id, tenant_id, version, base_url, sealed)"
        f" VALUES ('{row}', '{tenant}', 1, 'https://up.invalid', '\\x{value}')",
    )
    return settings_for(database_url, redis_url)


def keys(env: Mapping[str, str], *given: str) -> dict[str, str]:
    return {**env, "GATEWAY_MASTER_KEY": ",".join(given)}


def status(env: Mapping[str, str]) -> list[tuple[Any, ...]]:
    rows = json.loads(call("secret", "status", "--json", env=env).stdout)
    return [(row["key"], row["rank"], row["credentials"], row["advice"]) for row in rows]


def test_a_rotation_from_the_first_step_to_the_last(env: Mapping[str, str]) -> None:
    assert status(keys(env, OLD, NEW)) == [
        (OLD_ID, 1, 1, "seals"),
        (NEW_ID, 2, 0, "may be dropped"),
    ]
    swapped = keys(env, NEW, OLD)
    assert status(swapped) == [(NEW_ID, 1, 0, "seals"), (OLD_ID, 2, 1, "needed")]
    done = call("secret", "reseal", "--json", env=swapped)
    assert (done.exit_code, json.loads(done.stdout)) == (
        0,
        {"credentials": 1, "signingSecrets": 0, "endpointHeaders": 0, "unopened": {}},
    )
    assert "1 credentials re-encrypted" in done.stderr
    again = call("secret", "reseal", env=swapped)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "Nothing to do: the first key encrypts everything." in again.stderr
    assert status(swapped) == [(NEW_ID, 1, 1, "seals"), (OLD_ID, 2, 0, "may be dropped")]
    assert call("secret", "status", env=keys(env, NEW)).exit_code == 0


def test_a_key_that_was_dropped_too_early(env: Mapping[str, str]) -> None:
    blind = keys(env, NEW)
    shown = call("secret", "status", env=blind)
    assert shown.exit_code == 5
    assert f"the key {OLD_ID} is missing" in shown.stderr
    assert "missing: put it in the list" in shown.stdout
    failed = call("secret", "reseal", env=blind)
    assert failed.exit_code == 5
    assert f"are unchanged: 1 of key {OLD_ID}" in failed.stderr
    for command in ("serve", "worker"):
        refused = run(command, env={**blind, "GATEWAY_PORT": "0"})
        assert refused.returncode == 2
        assert f"the key {OLD_ID} is missing, which seals 1 credentials" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "acme" not in refused.stderr
    tried = call("config", "validate", "--connect", env=blind)
    assert tried.exit_code == 7
    assert f"the key {OLD_ID} is missing" in tried.stdout


def test_a_key_that_is_lost_can_be_given_up(env: Mapping[str, str]) -> None:
    blind = keys(env, NEW)
    assert call("secret", "give-up", OLD_ID, "--yes", env=keys(env, NEW, OLD)).exit_code == 5
    assert call("secret", "give-up", "xyz", "--yes", env=blind).exit_code == 2
    assert call("secret", "give-up", OLD_ID, env=blind).exit_code == 2  # nobody to ask
    done = call("secret", "give-up", OLD_ID, "--yes", "--json", env=blind)
    assert json.loads(done.stdout) == [
        {"credentials": 1, "signingSecrets": 0, "endpointHeaders": 0}
    ]
    again = call("secret", "give-up", OLD_ID, "--yes", env=blind)
    assert f"Nothing was done: the key {OLD_ID} encrypts nothing." in again.stderr
    heading, counts = again.stdout.splitlines()
    assert heading.split() == ["CREDENTIALS", "SIGNING_SECRETS", "ENDPOINT_HEADERS"]
    assert counts.split() == ["0", "0", "0"]
    assert status(blind) == [(NEW_ID, 1, 0, "seals")]
