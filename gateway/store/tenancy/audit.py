"""The audit log: each administrative act, stored in the transaction that carries it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.core.uuid7 import first_id
from gateway.store.database import Tx
from gateway.store.job_search.filter import Arguments
from gateway.store.statement import Statement

_ADD = Statement(
    """
INSERT INTO audit (id, key_id, action, subject, tenant_id, detail)
VALUES (:entry_id, :key_id, :action, :subject, :tenant_id, :detail)"""
)

# The acts on an erased tenant are found by its name. Each part has an index of its own.
_OF_TENANT = "a.tenant_id = (SELECT id FROM tenant WHERE slug = $)"
_OF_NAME = """a.subject = $ AND a.action LIKE 'tenant.%'
  AND (a.tenant_id = (SELECT id FROM tenant WHERE slug = $)) IS NOT TRUE"""

_PART = "(SELECT a.* FROM audit a WHERE {conditions} ORDER BY a.id DESC LIMIT $1)"
_PAGE = """
SELECT a.id, a.at, a.key_id, k.name AS key_name, a.action, a.subject, t.slug AS tenant, a.detail
FROM ({parts}) AS a
LEFT JOIN access_key k ON k.key_id = a.key_id LEFT JOIN tenant t ON t.id = a.tenant_id
ORDER BY a.id DESC LIMIT $1"""
# The ids of keys that have one of these names, and these texts themselves as ids.
_KEYS_OF = Statement(
    """
SELECT key_id FROM access_key WHERE name = ANY(:actors::text[])
UNION SELECT unnest(:actors::text[])"""
)
# How much earlier or later an id may be than the time beside it: the clocks of their hosts differ.
_SLACK = timedelta(hours=1)


class AuditEntry(NamedTuple):
    """One administrative act, by the key of that id and name; `detail` is JSON without secrets.

    Without a key name it was done on the command line, in the database.
    """

    id: UUID
    at: datetime
    key_id: str
    key_name: str | None
    action: str
    subject: str
    tenant: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which acts; an empty field does not filter. An actor is the id or the name of a key."""

    tenant: str | None = None
    actions: Sequence[str] = ()
    actors: Sequence[str] = ()
    after: datetime | None = None
    before: datetime | None = None


async def add(
    tx: Tx,
    entry_id: UUID,
    *,
    key_id: str,
    action: str,
    subject: str,
    tenant_id: UUID | None,
    detail: str,
) -> None:
    """Store an act; `detail` is JSON without secrets."""
    await _ADD.run(
        tx,
        entry_id=entry_id,
        key_id=key_id,
        action=action,
        subject=subject,
        tenant_id=tenant_id,
        detail=detail,
    )


async def page(tx: Tx, wanted: AuditFilter, *, before: UUID | None, limit: int) -> list[AuditEntry]:
    """Acts older than the id `before`, newest first, by keyset paging."""
    arguments = Arguments([limit])
    shared = [
        f"a.{column} {sign} ({arguments.add(value, type_)})"
        for column, sign, value, type_ in await _choices(tx, wanted, before)
        if value
    ]
    parts = [shared or ["TRUE"]]
    if wanted.tenant is not None:
        slug = arguments.add(wanted.tenant, "text")
        parts = [[one.replace("$", slug), *shared] for one in (_OF_TENANT, _OF_NAME)]
    union = " UNION ALL ".join(_PART.format(conditions=" AND ".join(one)) for one in parts)
    return [AuditEntry(*row) for row in await tx.rows(_PAGE.format(parts=union), *arguments)]


async def _choices(
    tx: Tx, wanted: AuditFilter, before: UUID | None
) -> list[tuple[str, str, object, str]]:
    """A column, an operator, a value and its type for each condition; without a value it does not filter."""
    after, until = wanted.after, wanted.before
    return [
        ("action", "= ANY", list(wanted.actions), "text[]"),
        ("key_id", "= ANY", await _key_ids(tx, wanted.actors), "text[]"),
        ("at", ">", after, "timestamptz"),
        ("at", "<", until, "timestamptz"),
        ("id", ">=", after and first_id(after, -_SLACK), "uuid"),
        ("id", "<", until and first_id(until, _SLACK), "uuid"),
        ("id", "<", before, "uuid"),
    ]


async def _key_ids(tx: Tx, actors: Sequence[str]) -> list[str]:
    if not actors:
        return []
    return [row.key_id for row in await _KEYS_OF.rows(tx, actors=list(actors))]
