"""Webhook endpoints and signing secrets."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Endpoint
from gateway.store.database import AnyRow, Tx

_COLUMNS = """id, tenant_id, url, description, events, algorithm, header_names, delays, concurrency,
  rate_limit, failing_since, failures, disabled_at, disabled_reason, created_at, updated_at"""

_ADD = f"""
INSERT INTO endpoint (id, tenant_id, url, description, events, algorithm, header_names,
  headers_sealed, delays, concurrency, rate_limit)
SELECT $1, $2::uuid, $3, $4, $5, $6, $7, $8, $9, $10, $11
WHERE (SELECT count(*) FROM endpoint WHERE tenant_id = $2::uuid AND deleted_at IS NULL) < $12::int
RETURNING {_COLUMNS}"""

# One after the other for a tenant, so that each sees those that others make.
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('endpoint:' || $1::uuid::text, 0))"

_CHANGE = f"""
UPDATE endpoint SET url = $3, description = $4, events = $5, header_names = $6,
  headers_sealed = CASE WHEN $7 THEN $8 ELSE headers_sealed END, delays = $9, concurrency = $10,
  rate_limit = $11, updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING {_COLUMNS}"""

_LIST = f"""
SELECT {_COLUMNS} FROM endpoint WHERE tenant_id = $1 AND deleted_at IS NULL
  AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3"""

_ONE = f"""
SELECT {_COLUMNS} FROM endpoint WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL"""

_ENABLE = f"""
UPDATE endpoint SET disabled_at = NULL, disabled_reason = NULL, paused_until = NULL,
  failing_since = NULL, failures = 0, updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL RETURNING {_COLUMNS}"""

_PARKED = """
SELECT count(*) FROM (SELECT 1 FROM delivery WHERE tenant_id = $1 AND endpoint_id = $2
  AND state = 'parked' LIMIT 10000) AS parked"""

_DELETE = """
UPDATE endpoint SET deleted_at = now(), updated_at = now(), headers_sealed = NULL
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL"""

# What is beyond the limits, the sweep ends as it falls due; what was parked stays so.
_EXHAUST = """
UPDATE delivery SET state = 'exhausted', lease_token = NULL, completed_at = now(),
  last_error = 'the endpoint was deleted'
WHERE id IN (SELECT id FROM delivery WHERE lane = $2 AND state = 'pending' LIMIT 1000)
  OR id IN (SELECT id FROM delivery WHERE tenant_id = $1 AND endpoint_id = $2
    AND state = 'parked' LIMIT 1000)"""

_KEEP = """
INSERT INTO signing_secret (id, tenant_id, endpoint_id, algorithm, sealed, public_key)
VALUES ($1, $2, $3, $4, $5, $6)"""

_NEWEST = """
SELECT id, algorithm, sealed FROM signing_secret
WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2
  AND (expires_at IS NULL OR expires_at > now()) ORDER BY id DESC LIMIT 1"""

# The oldest beyond the most that may be live end at once; a webhook carries a signature of each.
_RETIRE = """
UPDATE signing_secret s SET expires_at = CASE WHEN live.place < $4
  THEN LEAST(s.expires_at, now() + $3 * interval '1 second') ELSE now() END
FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM signing_secret
  WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2
    AND (expires_at IS NULL OR expires_at > now())) AS live
WHERE s.id = live.id"""

_PUBLIC_KEYS = """
SELECT s.public_key FROM signing_secret s LEFT JOIN endpoint p ON p.id = s.endpoint_id
WHERE s.public_key IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > now())
  AND p.deleted_at IS NULL
  AND (s.endpoint_id = $1::uuid OR s.tenant_id = $2::uuid AND s.endpoint_id IS NULL)
ORDER BY s.id DESC"""

_FAILING = """
SELECT id, COALESCE(EXTRACT(epoch FROM now() - failing_since)::float8, 0), failures,
  disabled_at IS NOT NULL
FROM endpoint WHERE deleted_at IS NULL AND CASE WHEN disabled_at IS NULL
  THEN failing_since IS NOT NULL ELSE disabled_reason = ANY($1::text[]) END"""


class EndpointOptions(NamedTuple):
    """What a caller sets of an endpoint; sealed headers None where there are none."""

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
    """An endpoint that only fails: for how many seconds, in how many attempts, and if that ended it."""

    id: UUID
    seconds: float
    failures: int
    is_disabled: bool


async def add(
    tx: Tx,
    endpoint_id: UUID,
    tenant_id: UUID,
    algorithm: str,
    options: EndpointOptions,
    *,
    most: int,
) -> Endpoint | None:
    """Create an endpoint; None where the tenant has `most` already."""
    url, description, events, *rest = options
    await tx.row(_TURN, tenant_id)
    row = await tx.row(
        _ADD, endpoint_id, tenant_id, url, description, events, algorithm, *rest, most
    )
    return _endpoint(row) if row else None


async def change(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID, options: EndpointOptions, *, headers_too: bool
) -> Endpoint | None:
    """Replace what may change of an endpoint; its headers only where that is said."""
    names, sealed = options.header_names, options.headers_sealed
    row = await tx.row(
        _CHANGE,
        tenant_id,
        endpoint_id,
        options.url,
        options.description,
        options.events,
        names,
        headers_too,
        sealed,
        options.delays,
        options.concurrency,
        options.rate_limit,
    )
    return _endpoint(row) if row else None


async def page(tx: Tx, tenant_id: UUID, *, after: UUID | None, limit: int) -> list[Endpoint]:
    """Endpoints of a tenant, oldest first: those younger than `after`."""
    return [_endpoint(row) for row in await tx.rows(_LIST, tenant_id, after, limit)]


async def find(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Find an endpoint."""
    row = await tx.row(_ONE, tenant_id, endpoint_id)
    return _endpoint(row) if row else None


async def hold(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Find an endpoint, and let nobody change it until the transaction ends."""
    row = await tx.row(f"{_ONE} FOR UPDATE", tenant_id, endpoint_id)
    return _endpoint(row) if row else None


async def sealed_headers(tx: Tx, endpoint_id: UUID) -> bytes | None:
    """The custom headers of an endpoint as they are stored."""
    return (await tx.one("SELECT headers_sealed FROM endpoint WHERE id = $1", endpoint_id))[0]


async def enable(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Let an endpoint be delivered to again, with a clean record."""
    row = await tx.row(_ENABLE, tenant_id, endpoint_id)
    return _endpoint(row) if row else None


async def set_algorithm(tx: Tx, endpoint_id: UUID, algorithm: str) -> None:
    """Note what the newest secret of an endpoint signs with."""
    await tx.run(
        "UPDATE endpoint SET algorithm = $2, updated_at = now() WHERE id = $1",
        endpoint_id,
        algorithm,
    )


async def parked(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> int:
    """How many deliveries of an endpoint are parked, up to 10,000."""
    return (await tx.one(_PARKED, tenant_id, endpoint_id))[0]


async def delete(tx: Tx, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Delete an endpoint; what it was still owed ends as exhausted, visible in its log."""
    found = await tx.run(_DELETE, tenant_id, endpoint_id) > 0
    if found:
        await tx.run(_EXHAUST, tenant_id, endpoint_id)
    return found


async def failing(tx: Tx, reasons: Sequence[str]) -> list[Failing]:
    """The endpoints that only fail, and those that were disabled for one of these reasons."""
    return [Failing(*row) for row in await tx.rows(_FAILING, list(reasons))]


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
    await tx.run(_KEEP, secret_id, tenant_id, endpoint_id, algorithm, sealed, public_key)


async def secret(tx: Tx, tenant_id: UUID, endpoint_id: UUID | None) -> EndpointSecret | None:
    """The newest live signing secret."""
    row = await tx.row(_NEWEST, tenant_id, endpoint_id)
    return EndpointSecret(*row) if row else None


async def retire_secrets(
    tx: Tx, tenant_id: UUID, endpoint_id: UUID | None, *, overlap: float, most: int
) -> None:
    """Let the live secrets end after so many seconds, and at once what leaves no room for one more."""
    await tx.run(_RETIRE, tenant_id, endpoint_id, overlap, most)


async def public_keys(
    tx: Tx, endpoint_id: UUID | None = None, default_of: UUID | None = None
) -> list[bytes]:
    """The live public keys of one endpoint, or of a tenant's default secret."""
    return [row.public_key for row in await tx.rows(_PUBLIC_KEYS, endpoint_id, default_of)]


def _endpoint(row: AnyRow) -> Endpoint:
    values = dict(row.items())
    values["events"], values["header_names"] = tuple(row.events), tuple(row.header_names)
    values["delays"] = None if row.delays is None else tuple(row.delays)
    return Endpoint(**values)
