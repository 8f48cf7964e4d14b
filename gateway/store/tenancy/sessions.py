"""Sessions of the console and of the portal, and the one-time links that open them.

Of a token only the digest is stored. A session that has ended has no row: the audit log keeps its history.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query, Statement


@dataclass(frozen=True, slots=True)
class Grant:
    """What a session and its one-time link have in common; `theme` is a JSON object."""

    id: UUID
    tenant_id: UUID | None
    key_id: str | None
    kind: str
    role: str
    who: str
    pages: list[str]
    return_url: str | None
    theme: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StoredSession(Grant):
    """A session, and whether the access key that it depends on has ended."""

    last_seen_at: datetime
    address: str | None
    is_key_ended: bool


@dataclass(frozen=True, slots=True)
class StoredLink(Grant):
    """A one-time link, and whether the access key that made it has ended."""

    used_at: datetime | None
    is_key_ended: bool


class SessionFilter(NamedTuple):
    """Which sessions; an empty field does not filter. `idle_since` excludes those unused for longer."""

    now: datetime
    idle_since: datetime
    tenant_id: UUID | None = None
    kind: str | None = None


_NAMES = [field.name for field in fields(Grant)]
_GRANT = ", ".join(f"s.{name}" for name in _NAMES)
# A key that was erased with its tenant has ended, too.
_KEY_ENDED = """s.key_id IS NOT NULL AND (k.id IS NULL OR k.revoked_at IS NOT NULL
    OR COALESCE(k.expires_at <= :now, false)) AS is_key_ended"""
_OF_KEY = "LEFT JOIN access_key k ON k.key_id = s.key_id"


def _insert(table: str, *more: str) -> str:
    names = [*_NAMES, "digest", *more]
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"


_ADD = Statement(_insert("session", "last_seen_at", "address"))
_ADD_LINK = Statement(_insert("session_link"))
_ADD_USED = Statement(_insert("session_link", "used_at") + " ON CONFLICT (digest) DO NOTHING")

_FIND = Query(
    f"""
SELECT {_GRANT}, s.last_seen_at, s.address, {_KEY_ENDED}
FROM session s {_OF_KEY} WHERE s.digest = :digest""",
    StoredSession,
)

_FIND_LINK = Query(
    f"""
SELECT {_GRANT}, s.used_at, {_KEY_ENDED}
FROM session_link s {_OF_KEY} WHERE s.digest = :digest FOR UPDATE OF s""",
    StoredLink,
)

_PAGE = Query(
    f"""
SELECT {_GRANT}, s.last_seen_at, s.address, {_KEY_ENDED}
FROM session s {_OF_KEY}
WHERE s.expires_at > :now AND s.last_seen_at > :idle_since
  AND (s.key_id IS NULL OR k.revoked_at IS NULL AND COALESCE(k.expires_at > :now, k.id IS NOT NULL))
  AND (:tenant_id::uuid IS NULL OR s.tenant_id = :tenant_id)
  AND (:kind::text IS NULL OR s.kind = :kind)
  AND (:before::uuid IS NULL OR s.id < :before)
ORDER BY s.id DESC LIMIT :limit""",
    StoredSession,
)

_USE_LINK = Statement("UPDATE session_link SET used_at = :now WHERE id = :link_id")

_SEEN = Statement(
    """
UPDATE session SET last_seen_at = :now
WHERE id = :session_id AND last_seen_at < :now::timestamptz - interval '1 minute'"""
)

_END = Query(
    f"""
DELETE FROM session AS s WHERE s.id = :session_id
RETURNING {_GRANT}, s.last_seen_at, s.address, false AS is_key_ended""",
    StoredSession,
)

_PRUNE = tuple(
    Statement(
        f"""
DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expires_at < :before
  ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)"""
    )
    for table in ("session", "session_link")
)


async def add(tx: Tx, session: StoredSession, digest: bytes) -> None:
    """Store a new session."""
    more = {"last_seen_at": session.last_seen_at, "address": session.address}
    await _ADD.run(tx, **_values(session), digest=digest, **more)


async def add_link(tx: Tx, grant: Grant, digest: bytes) -> None:
    """Store a new one-time link."""
    await _ADD_LINK.run(tx, **_values(grant), digest=digest)


async def add_used(tx: Tx, grant: Grant, digest: bytes, now: datetime) -> bool:
    """Store a link that is used at once; False if it was used before."""
    return await _ADD_USED.run(tx, **_values(grant), digest=digest, used_at=now) == 1


async def find(tx: Tx, digest: bytes, now: datetime) -> StoredSession | None:
    """Find a session by the digest of its token, also one that has expired."""
    return await _FIND.row(tx, digest=digest, now=now)


async def find_link(tx: Tx, digest: bytes, now: datetime) -> StoredLink | None:
    """Find a link by the digest of its token and lock it, also one that is used or has expired."""
    return await _FIND_LINK.row(tx, digest=digest, now=now)


async def use_link(tx: Tx, link_id: UUID, now: datetime) -> None:
    """Record that a link was used, so that it is not used again."""
    await _USE_LINK.run(tx, link_id=link_id, now=now)


async def page(
    tx: Tx, wanted: SessionFilter, *, before: UUID | None, limit: int
) -> list[StoredSession]:
    """Sessions older than the id `before`, newest first, by keyset paging."""
    return await _PAGE.rows(tx, **wanted._asdict(), before=before, limit=limit)


async def seen(tx: Tx, session_id: UUID, now: datetime) -> None:
    """Record that a session was used, to the minute."""
    await _SEEN.run(tx, session_id=session_id, now=now)


async def end(tx: Tx, session_id: UUID) -> StoredSession | None:
    """Delete a session; returns what it was."""
    return await _END.row(tx, session_id=session_id)


async def prune(tx: Tx, before: datetime, limit: int) -> int:
    """Delete some sessions and links that expired before then; returns how many."""
    return sum([await statement.run(tx, before=before, limit=limit) for statement in _PRUNE])


def _values(grant: Grant) -> dict[str, object]:
    return {name: getattr(grant, name) for name in _NAMES}
