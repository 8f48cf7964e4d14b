"""`gateway key`, on a real Postgres."""

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
import structlog

from gateway.core.crypto.access_keys import parse_key
from tests.cli.commands import call, run, settings_for
from tests.cli.conftest import Running
from tests.conftest import run_sql


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command sets up logging for its own process, which here is ours."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def env(database_url: str, redis_url: str) -> Mapping[str, str]:
    return settings_for(database_url, redis_url)


def made(env: Mapping[str, str], *options: str) -> dict[str, Any]:
    result = call("key", "create", "--json", *options, env=env)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def listed(env: Mapping[str, str], *options: str) -> dict[str, dict[str, Any]]:
    result = call("key", "list", "--json", *options, env=env)
    assert result.exit_code == 0, result.stderr
    return {one["keyId"]: one for one in json.loads(result.stdout)}


def add_tenant(database_url: str, slug: str) -> None:
    run_sql(
        database_url,
        f"INSERT INTO tenant (id, slug, name, metadata) VALUES (gen_random_uuid(), '{slug}', '', '{{}}')"
        " ON CONFLICT DO NOTHING",
    )


def test_the_first_operator_key_needs_no_redis(database_url: str) -> None:
    env = settings_for(database_url, "redis://127.0.0.1:1")
    done = run("key", "create", "--operator", "--name", "first", "--json", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    parsed = parse_key(answer["accessKey"])
    assert parsed is not None
    assert parsed.key_id == answer["keyId"]
    assert answer["role"] == "operator"
    assert {"admin", "jobs:write", "support"} <= set(answer["scopes"])


def test_without_json_the_key_alone_is_on_standard_output(env: Mapping[str, str]) -> None:
    result = call("key", "create", "--operator", "--name", "x", env=env)
    assert parse_key(result.stdout.strip()) is not None
    assert "only once" in result.stderr


def test_kinds_of_keys(env: Mapping[str, str], database_url: str) -> None:
    add_tenant(database_url, "acme")
    tenant = made(env, "--tenant", "acme", "--name", "a", "--scopes", "jobs:read,usage:read")
    assert (tenant["kind"], tenant["scopes"]) == ("tenant", ["jobs:read", "usage:read"])
    service = made(env, "--service", "--tenants", "acme", "--name", "b", "--expires", "30d")
    assert service["kind"] == "service"
    assert service["expiresAt"] > service["createdAt"]
    assert tenant["keyId"] in listed(env, "--tenant", "acme")
    assert service["keyId"] in listed(env)
    assert tenant["keyId"] not in listed(env)
    assert "accessKey" not in json.dumps(listed(env))


@pytest.mark.parametrize("role", ["viewer", "support", "operator"])
def test_a_role(env: Mapping[str, str], role: str) -> None:
    one = made(env, "--operator", "--name", "Ann", "--role", role)
    assert one["role"] == listed(env)[one["keyId"]]["role"] == role
    assert ("admin" in one["scopes"]) == (role == "operator")


def stored_link(database_url: str, digest: bytes) -> tuple[str, ...]:
    """The kind, the role and the person of a one-time link."""

    async def read() -> tuple[str, ...]:
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        try:
            sql = "SELECT kind, role, who FROM session_link WHERE digest = $1"
            return tuple(await connection.fetchrow(sql, digest) or ())
        finally:
            await connection.close()

    return asyncio.run(read())


def test_a_link_into_the_console(env: Mapping[str, str], database_url: str) -> None:
    result = call("console", "link", "--role", "support", "--name", "Ann", env=env)
    assert result.exit_code == 0, result.stderr
    path, _, token = result.stdout.strip().partition("?token=")
    assert path == "/console/link"
    assert "within five minutes" in result.stderr
    row = stored_link(database_url, sha256(token.encode()).digest())
    assert row == ("console", "support", "Ann")
    public = {**env, "GATEWAY_PUBLIC_URL": "https://jobs.example.com/"}
    shown = json.loads(call("console", "link", "--json", env=public).stdout)
    assert shown["url"].startswith("https://jobs.example.com/console/link?token=jgl_")
    assert shown["role"] == "operator"
    assert call("console", "link", "--role", "root", env=env).exit_code == 2


def test_rotation_and_revocation(env: Mapping[str, str]) -> None:
    old = made(env, "--service", "--name", "rotated")
    result = call("key", "rotate", old["keyId"], "--overlap", "15m", "--json", env=env)
    assert result.exit_code == 0, result.stderr
    new = json.loads(result.stdout)
    assert (new["name"], new["expiresAt"]) == ("rotated", None)
    assert listed(env)[old["keyId"]]["expiresAt"] is not None
    revoked = call("key", "revoke", new["keyId"], "--yes", env=env)
    assert revoked.exit_code == 0, revoked.stderr
    assert listed(env)[new["keyId"]]["revokedAt"] is not None
    assert call("key", "rotate", new["keyId"], env=env).exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "--name", "x"), 2, "one of --operator, --service"),
        (("create", "--name", "x", "--operator", "--tenant", "acme"), 2, "one of --operator"),
        (("create", "--name", "x", "--operator", "--tenants", "acme"), 2, "only with --service"),
        (("create", "--name", "x", "--service", "--role", "viewer"), 2, "only with --operator"),
        (
            ("create", "--name", "x", "--operator", "--role", "viewer", "--scopes", "admin"),
            2,
            "cannot be combined with scopes",
        ),
        (("create", "--name", "x", "--tenant", "nobody"), 3, "no tenant 'nobody'"),
        (("create", "--name", "x", "--service", "--tenants", "nobody"), 2, "no tenant 'nobody'"),
        (("create", "--name", "x", "--service", "--scopes", "admin"), 2, "cannot have admin"),
        (("create", "--name", "x", "--service", "--expires", "soon"), 2, "is not a duration"),
        (("list", "--tenant", "nobody"), 3, "no tenant 'nobody'"),
        (("rotate", "0" * 16), 3, "no key"),
        (("revoke", "0" * 16, "--yes"), 3, "no key"),
        (("revoke", "0" * 16), 2, "--yes"),
    ],
)
def test_wrong_usage_of_keys(
    env: Mapping[str, str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = call("key", *arguments, env=env)
    assert result.exit_code == code, result.output
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_settings_that_are_wrong_are_all_named() -> None:
    result = call("key", "list", "--database", env={"GATEWAY_MASTER_KEY": "short"})
    assert result.exit_code == 2
    for name in ("GATEWAY_DATABASE_URL", "GATEWAY_MASTER_KEY"):
        assert name in result.stderr
    assert "short" not in result.stderr


def test_only_the_database_has_to_be_told(database_url: str) -> None:
    env = {"GATEWAY_DATABASE_URL": database_url}
    made = run("key", "create", "--service", "--name", "alone", "--json", env=env)
    assert (made.returncode, made.stderr) == (0, "")
    key_id = json.loads(made.stdout)["keyId"]
    assert key_id in run("key", "list", env=env).stdout


def test_the_same_through_the_api(running: Running) -> None:
    assert call("tenant", "create", "keyed", env=running.operator).exit_code == 0
    one = made(running.operator, "--tenant", "keyed", "--name", "one", "--scopes", "jobs:read")
    assert (one["kind"], one["tenant"], one["scopes"]) == ("tenant", "keyed", ["jobs:read"])
    assert listed(running.operator, "--tenant", "keyed").keys() == {one["keyId"]}
    service = made(
        running.operator, "--service", "--name", "two", "--tenants", "keyed", "--expires", "1h"
    )
    assert (service["tenants"], service["expiresAt"] is None) == (["keyed"], False)
    assert one["keyId"] not in listed(running.operator)
    rotated = call("key", "rotate", service["keyId"], "--json", env=running.operator)
    assert json.loads(rotated.stdout)["keyId"] in listed(running.operator)
    revoked = call("key", "revoke", one["keyId"], "--yes", "--json", env=running.operator)
    assert json.loads(revoked.stdout)["revokedAt"] is not None


def test_the_file_of_gateway_dev_is_found(running: Running) -> None:
    here = call("key", "list", "--data-dir", str(running.folder), "--json")
    assert {one["kind"] for one in json.loads(here.stdout)} >= {"operator", "service"}


def test_a_place_is_said_once(running: Running) -> None:
    result = call("key", "list", "--database", "--data-dir", str(running.folder))
    assert (result.exit_code, "cannot be combined" in result.stderr) == (2, True)


def test_a_schema_that_is_behind(postgres: str) -> None:
    result = call("key", "list", env=settings_for(postgres))
    assert result.exit_code == 5
    assert "gateway db upgrade" in result.stderr


def test_a_revocation_that_cannot_be_announced_says_so(
    env: Mapping[str, str], database_url: str
) -> None:
    key_id = made(env, "--service", "--name", "x")["keyId"]
    away = settings_for(database_url, "redis://127.0.0.1:1")
    done = run("key", "revoke", key_id, "--yes", "--json", env=away)
    assert (done.returncode, json.loads(done.stdout)["keyId"]) == (0, key_id)
    assert "redis cannot be used" in done.stderr
