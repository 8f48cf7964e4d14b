"""Webhook endpoints and signing secrets, as a tenant manages them."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Endpoint
from gateway.store.database import AnyRow, Tx
from gateway.store.statement import Query, Statement

_COLUMNS = """id, tenant_id, url, description, events, algorithm, header_names, delays, concurrency,
  rate_limit, failing_since, failures, disabled_at, disabled_reason, created_at, updated_at"""


class EndpointOptions(NamedTuple):
    """The settings of an endpoint that a caller may change; sealed headers None where there are none."""

    url: str
    description: str
    events: list[str]
    header_names: list[str]
    headers_sealed: bytes | None
    delays: list[int] | None
    concurrency: int | None
    rate_limit: int | None


class EndpointSecret(NamedTuple):
    """A stored signing secret."""

    id: UUID
    algorithm: str
    sealed: bytes


class Failing(NamedTuple):
    """A failing endpoint: for how many seconds, in how many attempts, and whether it is disabled."""

    id: UUID
    seconds: float
    failures: int
    is_disabled: bool


def _endpoint(row: AnyRow) -> Endpoint:
    values = dict(row.items())
    values["events"], values["header_names"] = tuple(row.events), tuple(row.header_names)
    values["delays"] = None if row.delays is None else tuple(row.delays)
    return Endpoint(**values)


# An advisory lock per tenant: its endpoints are added one after the other, so that each count sees the
# ones before.
_LOCK_TENANT = Statement(
    "SELECT pg_advisory_xact_lock(hashtextextended('endpoint:' || :tenant_id::uuid::text, 0))"
)

_ADD = Query(
    f"""
INSERT INTO endpoint (id, tenant_id, url, description, events, algorithm, header_names,
  headers_sealed, delays, concurrency, rate_limit)
SELECT :endpoint_id, :tenant_id::uuid, :url, :description, :events, :algorithm, :header_names,
  :headers_sealed, :delays, :concurrency, :rate_limit
WHERE (SELECT count(*) FROM endpoint WHERE tenant_id = :tenant_id::uuid AND deleted_at IS NULL)
  < :most::int
RETURNING {_COLUMNS}""",
    Endpoint,
    _endpoint,
)

_CHANGE = Query(
    f"""
UPDATE endpoint SET url = :url, description = :description, events = :events,
  header_names = :header_names,
  headers_sealed = CASE WHEN :headers_too THEN :headers_sealed ELSE headers_sealed END,
  delays = :delays, concurrency = :concurrency, rate_limit = :rate_limit, updated_at = now()
WHERE tenant_id = :tenant_id AND id = :endpoint_id AND deleted_at IS NULL RETURNING {_COLUMNS}""",
    Endpoint,
    _endpoint,
)

_PAGE = Query(
    f"""
SELECT {_COLUMNS} FROM endpoint WHERE tenant_id = :tenant_id AND deleted_at IS NULL
  AND (:after::uuid IS NULL OR id > :after) ORDER BY id LIMIT :limit""",
    Endpoint,
    _endpoint,
)

_FIND = f"""
SELECT {_COLUMNS} FROM endpoint
WHERE tenant_id = :tenant_id AND id = :endpoint_id AND deleted_at IS NULL"""
_ONE = Query(_FIND, Endpoint, _endpoint)
_HOLD = Query(f"{_FIND} FOR UPDATE", Endpoint, _endpoint)

_OWNER = Statement("SELECT tenant_id FROM endpoint WHERE id = :endpoint_id")

_SEALED_HEADERS = Statement("SELECT headers_sealed FROM endpoint WHERE id = :endpoint_id")

_ENABLE = Query(
    f"""
UPDATE endpoint SET disabled_at = NULL, disabled_reason = NULL, paused_until = NULL,
  failing_since = NULL, failures = 0, updated_at = now()
WHERE tenant_id = :tenant_id AND id = :endpoint_id AND deleted_at IS NULL RETURNING {_COLUMNS}""",
    Endpoint,
    _endpoint,
)

_SET_ALGORITHM = Statement(
    "UPDATE endpoint SET algorithm = :algorithm, updated_at = now() WHERE id = :endpoint_id"
)

_PARKED = Statement(
    """
SELECT count(*) AS count FROM (SELECT 1 FROM delivery
  WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id AND state = 'parked' LIMIT 10000)
  AS parked"""
)

_DELETE = Statement(
    """
UPDATE endpoint SET deleted_at = now(), updated_at = now(), headers_sealed = NULL
WHERE tenant_id = :tenant_id AND id = :endpoint_id AND deleted_at IS NULL"""
)

# Pending deliveries beyond the limit are ended by the sweep as they fall due. Parked ones beyond it stay.
_EXHAUST = Statement(
    """
UPDATE delivery SET state = 'exhausted', lease_token = NULL, completed_at = now(),
  last_error = 'the endpoint was deleted'
WHERE id IN (SELECT id FROM delivery WHERE lane = :endpoint_id AND state = 'pending' LIMIT 1000)
  OR id IN (SELECT id FROM delivery WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id
    AND state = 'parked' LIMIT 1000)"""
)

_ADD_SECRET = Statement(
    """
INSERT INTO signing_secret (id, tenant_id, endpoint_id, algorithm, sealed, public_key)
VALUES (:secret_id, :tenant_id, :endpoint_id, :algorithm, :sealed, :public_key)"""
)

_NEWEST = Query(
    """
SELECT id, algorithm, sealed FROM signing_secret
WHERE tenant_id = :tenant_id AND endpoint_id IS NOT DISTINCT FROM :endpoint_id
  AND (expires_at IS NULL OR expires_at > now()) ORDER BY id DESC LIMIT 1""",
    EndpointSecret,
)

_RETIRE = Statement(
    """
UPDATE signing_secret s SET expires_at = CASE WHEN live.place < :most
  THEN LEAST(s.expires_at, now() + :overlap * interval '1 second') ELSE now() END
FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM signing_secret
  WHERE tenant_id = :tenant_id AND endpoint_id IS NOT DISTINCT FROM :endpoint_id
    AND (expires_at IS NULL OR expires_at > now())) AS live
WHERE s.id = live.id"""
)

_PUBLIC_KEYS = Statement(
    """
SELECT s.public_key FROM signing_secret s LEFT JOIN endpoint p ON p.id = s.endpoint_id
WHERE s.public_key IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > now())
  AND p.deleted_at IS NULL AND (s.endpoint_id = :endpoint_id::uuid
    OR s.tenant_id = :default_of::uuid AND s.endpoint_id IS NULL)
ORDER BY s.id DESC"""
)

_FAILING = Query(
    """
SELECT id, COALESCE(EXTRACT(epoch FROM now() - failing_since)::float8, 0) AS seconds, failures,
  disabled_at IS NOT NULL AS is_disabled
FROM endpoint WHERE deleted_at IS NULL AND CASE WHEN disabled_at IS NULL
  THEN failing_since IS NOT NULL ELSE disabled_reason = ANY(:reasons::text[]) END""",
    Failing,
)


async def add(
    tx: Tx,
    endpoint_id: UUID,
    tenant_id: UUID,
    algorithm: str,
    options: EndpointOptions,
    *,
    most: int,
) -> Endpoint | None:
    """Create an endpoint; None where the tenant has `most` already.

    Holds the tenant's advisory lock until the end of the transaction.
    """
    await _LOCK_TENANT.row(tx, tenant_id=tenant_id)
    return await _ADD.row(
        tx,
        endpoint_id=endpoint_id,
        tenant_id=tenant_id,
        algorithm=algorithm,
        most=most,
        **options._asdict(),
    )


async def change(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID, options: EndpointOptions, *, headers_too: bool
) -> Endpoint | None:
    """Replace the options of an endpoint; its sealed headers only with `headers_too`."""
    return await _CHANGE.row(
        tx,
        tenant_id=tenant_id,
        endpoint_id=endpoint_id,
        headers_too=headers_too,
        **options._asdict(),
    )


async def page(tx: Tx, tenant_id: UUID, *, after: UUID | None, limit: int) -> list[Endpoint]:
    """Endpoints of a tenant after the id `after`, oldest first, by keyset paging."""
    return await _PAGE.rows(tx, tenant_id=tenant_id, after=after, limit=limit)


async def find(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Find an endpoint that was not deleted."""
    return await _ONE.row(tx, tenant_id=tenant_id, endpoint_id=endpoint_id)


async def hold(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Find an endpoint that was not deleted, and lock it until the transaction ends."""
    return await _HOLD.row(tx, tenant_id=tenant_id, endpoint_id=endpoint_id)


async def owner(tx: Tx, endpoint_id: UUID) -> UUID | None:
    """The tenant of an endpoint, also of a deleted one."""
    row = await _OWNER.row(tx, endpoint_id=endpoint_id)
    return row.tenant_id if row else None


async def sealed_headers(tx: Tx, endpoint_id: UUID) -> bytes | None:
    """The custom headers of an endpoint as they are stored, sealed."""
    return (await _SEALED_HEADERS.one(tx, endpoint_id=endpoint_id)).headers_sealed


async def enable(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Enable an endpoint and clear its failures and its pause."""
    return await _ENABLE.row(tx, tenant_id=tenant_id, endpoint_id=endpoint_id)


async def set_algorithm(tx: Tx, endpoint_id: UUID, algorithm: str) -> None:
    """Record the algorithm of the newest secret of an endpoint."""
    await _SET_ALGORITHM.run(tx, endpoint_id=endpoint_id, algorithm=algorithm)


async def parked(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> int:
    """How many deliveries of an endpoint are parked, up to 10,000."""
    return (await _PARKED.one(tx, tenant_id=tenant_id, endpoint_id=endpoint_id)).count


async def delete(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Delete an endpoint; returns whether it was there.

    Its pending and parked deliveries end as exhausted (dead letters), visible in the log.
    """
    found = await _DELETE.run(tx, tenant_id=tenant_id, endpoint_id=endpoint_id) > 0
    if found:
        await _EXHAUST.run(tx, tenant_id=tenant_id, endpoint_id=endpoint_id)
    return found


async def failing(tx: Tx, reasons: Sequence[str]) -> list[Failing]:
    """The failing endpoints, and those that were disabled for one of these reasons."""
    return await _FAILING.rows(tx, reasons=list(reasons))


async def add_secret(
    tx: Tx,
    secret_id: UUID,
    tenant_id: UUID,
    endpoint_id: UUID | None,
    *,
    algorithm: str,
    sealed: bytes,
    public_key: bytes | None,
) -> None:
    """Store a signing secret; without an endpoint it is the tenant's default."""
    await _ADD_SECRET.run(
        tx,
        secret_id=secret_id,
        tenant_id=tenant_id,
        endpoint_id=endpoint_id,
        algorithm=algorithm,
        sealed=sealed,
        public_key=public_key,
    )


async def secret(tx: Tx, tenant_id: UUID, endpoint_id: UUID | None) -> EndpointSecret | None:
    """The newest live signing secret."""
    return await _NEWEST.row(tx, tenant_id=tenant_id, endpoint_id=endpoint_id)


async def retire_secrets(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID | None, *, overlap: float, most: int
) -> None:
    """Let the live secrets end after `overlap` seconds, before a new one is added.

    A webhook carries a signature of each live secret. The oldest ones end at once, so that with the new
    one `most` are live.
    """
    await _RETIRE.run(tx, tenant_id=tenant_id, endpoint_id=endpoint_id, overlap=overlap, most=most)


async def public_keys(
    tx: Tx, endpoint_id: UUID | None = None, default_of: UUID | None = None
) -> list[bytes]:
    """The live public keys of one endpoint, or of a tenant's default secret, newest first."""
    rows = await _PUBLIC_KEYS.rows(tx, endpoint_id=endpoint_id, default_of=default_of)
    return [row.public_key for row in rows]
