"""Checks before the first migration, so that a refusal changes nothing."""

from typing import Any

from gateway.store.connection.connect import PostgresSession

_LEAST_VERSION = 15
_SETTABLE_SINCE = 16
_ENCODING = "UTF8"
ROLE = "gateway_tenant"
# Whether the login may set the role; whether it may create the role, or grant it to itself.
_ROLE = """
SELECT current_user AS login, quote_ident(current_user) AS quoted, r.oid IS NOT NULL AS exists,
  COALESCE(u.rolsuper OR pg_has_role(current_user, r.oid, $2), false) AS is_taken_on,
  u.rolsuper OR u.rolcreaterole AS may_make,
  u.rolsuper OR (NOT $3 AND u.rolcreaterole)
    OR COALESCE(pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION'), false) AS may_grant
FROM pg_roles u LEFT JOIN pg_roles r ON r.rolname = $1 WHERE u.rolname = current_user"""
_SCHEMA = """
SELECT current_schema() AS name, current_database() AS database,
  COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create"""


class DatabaseRefusedError(Exception):
    """The server answers but refuses; `hint` says what an administrator can do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def encoding_fault(encoding: str) -> str:
    """What is wrong with the encoding of a database; empty if it is UTF8."""
    if encoding == _ENCODING:
        return ""
    return (
        f"the database is encoded in {encoding}, which cannot hold every text: "
        f"it must be {_ENCODING}"
    )


async def check(session: PostgresSession) -> None:
    """Raise DatabaseRefusedError if the server would refuse one of the migrations."""
    untyped: Any = session
    version = int(untyped.get_server_version().major)
    if version < _LEAST_VERSION:
        raise DatabaseRefusedError(
            f"Postgres {version} is too old: {_LEAST_VERSION} or newer is needed"
        )
    if session.is_pooled:
        raise DatabaseRefusedError(
            "a pooler is in front of Postgres, and migrations need a session of their own",
            "Set GATEWAY_MIGRATION_DATABASE_URL to the address of Postgres itself.",
        )
    fault = encoding_fault(session.encoding)
    if fault:
        raise DatabaseRefusedError(
            fault, "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, and move the data over."
        )
    if await untyped.fetchval("SHOW transaction_read_only") == "on":
        raise DatabaseRefusedError("the database is read-only, such as a standby")
    await _check_schema(untyped)
    await _check_role(untyped, version)


async def _check_schema(session: Any) -> None:  # noqa: ANN401 - asyncpg has no types
    schema = await session.fetchrow(_SCHEMA)
    if not schema.may_create:
        name = schema.name or "public"
        raise DatabaseRefusedError(
            f"the login may not create tables in the schema {name}",
            f"As an administrator: GRANT CREATE, USAGE ON SCHEMA {name} TO the login, or make it the "
            f"owner of the database {schema.database}.",
        )


async def _check_role(session: Any, version: int) -> None:  # noqa: ANN401 - asyncpg has no types
    settable = version >= _SETTABLE_SINCE
    role = await session.fetchrow(_ROLE, ROLE, "SET" if settable else "MEMBER", settable)
    if role.is_taken_on or (role.may_grant if role.exists else role.may_make):
        return
    grant = f"GRANT {ROLE} TO {role.quoted}{' WITH SET TRUE' if settable else ''};"
    if role.exists:
        raise DatabaseRefusedError(
            f"the login {role.login} is not a member of the role {ROLE}, and may not make itself one",
            f"As an administrator: {grant}",
        )
    raise DatabaseRefusedError(
        f"the role {ROLE} is missing, and the login {role.login} may not make it",
        f"As an administrator: CREATE ROLE {ROLE} NOLOGIN NOINHERIT; {grant}",
    )
