"""The audit log: each administrative act, stored in the transaction that carries it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Statement

_ADD = Statement(
    """
INSERT INTO audit (id, key_id, action, subject, tenant_id, detail)
VALUES (:entry_id, :key_id, :action, :subject, :tenant_id, :detail)"""
)

# The acts on an erased tenant are found by its name.
_OF_TENANT = """(a.tenant_id = (SELECT id FROM tenant WHERE slug = $)
  OR a.subject = $ AND a.action LIKE 'tenant.%')"""

_PAGE = """
SELECT a.id, a.at, a.key_id, k.name AS key_name, a.action, a.subject, t.slug AS tenant, a.detail
FROM audit a LEFT JOIN access_key k ON k.key_id = a.key_id LEFT JOIN tenant t ON t.id = a.tenant_id
WHERE {conditions} ORDER BY a.id DESC LIMIT $1"""


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
    arguments: list[object] = [limit]
    conditions = ["TRUE"]
    choices: list[tuple[str, object]] = [
        (_OF_TENANT, wanted.tenant),
        ("a.action = ANY($::text[])", list(wanted.actions)),
        ("(a.key_id = ANY($::text[]) OR k.name = ANY($::text[]))", list(wanted.actors)),
        ("a.at > $", wanted.after),
        ("a.at < $", wanted.before),
        ("a.id < $", before),
    ]
    for condition, value in choices:
        if value:
            arguments.append(value)
            conditions.append(condition.replace("$", f"${len(arguments)}"))
    sql = _PAGE.format(conditions=" AND ".join(conditions))
    return [AuditEntry(*row) for row in await tx.rows(sql, *arguments)]
