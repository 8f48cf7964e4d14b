"""The export of a tenant: everything that is stored of it but secrets, as lines of JSON.

Each kind of rows is read by keyset paging, in the order of its key, so a page costs the same at any depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Limits
from gateway.store.database import Tx
from gateway.store.job_search.csv_and_json_columns import size_of, stamp
from gateway.store.job_search.search import keep_to_indexes
from gateway.store.statement import Statement

_Key = tuple[object, ...]
_LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)
_LIMITS = " ".join(one.name for one in fields(Limits))


def _shown(plain: str, times: str = "", **more: str) -> str:
    """Columns, named as the API names them, as one JSON object."""
    pairs = {name: f"t.{name}" for name in plain.split()}
    pairs |= {name: stamp(f"t.{name}") for name in times.split()} | more
    given = ", ".join(f"'{_camel(name)}', {value}" for name, value in pairs.items())
    return f"json_build_object({given})::text"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


@dataclass(frozen=True, slots=True)
class _Source:
    """The table of a kind of rows, their order, and the JSON of a row."""

    shown: str
    table: str
    # The columns of the key, each with its type, and the key before the first row.
    order: tuple[tuple[str, str], ...] = (("id", "uuid"),)
    start: _Key = (UUID(int=0),)
    where: str = "t.tenant_id = :tenant_id"
    grouped: str = ""
    # About how many bytes a row has.
    size: str = "500"
    # A kind whose rows belong to rows of this one and are found by their ids: its name, its statement, and
    # its key before the first row.
    part: tuple[str, Statement, _Key] | None = None


_NOTES = Statement(
    f"""
SELECT t.job_id, t.id, {_shown("id job_id type detail", times="at")} FROM job_event t
WHERE t.tenant_id = :tenant_id AND t.job_id = ANY(:ids::uuid[])
  AND (t.job_id, t.id) > (:after_0, :after_1)
ORDER BY t.job_id, t.id LIMIT :limit"""
)
_ATTEMPT = (
    "delivery_id number duration_ms url request_headers status response_headers response_body"
)
_ATTEMPTS = Statement(
    f"""
SELECT t.delivery_id, t.number,
  {_shown(f"{_ATTEMPT} error_class detail timings", times="started_at next_at")} FROM attempt t
WHERE t.tenant_id = :tenant_id AND t.delivery_id = ANY(:ids::uuid[])
  AND (t.delivery_id, t.number) > (:after_0, :after_1)
ORDER BY t.delivery_id, t.number LIMIT :limit"""
)
_USAGE_KEY = ("hour", "workflow", "status", "error_code", "batch_name")
_COUNTS = ("jobs", "submitted", "retries", "webhooks_delivered", "webhooks_failed")
_TIMES = ("wait", "run", "total")

_SOURCES = {
    "tenant": _Source(
        _shown(f"id slug name metadata {_LIMITS}", times="suspended_at created_at updated_at"),
        "tenant",
        where="t.id = :tenant_id",
    ),
    "key": _Source(
        _shown("id key_id name scopes", times="created_at expires_at revoked_at last_used_at"),
        "access_key",
    ),
    # Those of the portal; the digests of their tokens stay here.
    "session": _Source(
        _shown(
            "id key_id role who pages return_url theme address",
            times="created_at last_seen_at expires_at",
        ),
        "session",
    ),
    "view": _Source(_shown("id name query", times="created_at"), "saved_view"),
    "credential": _Source(
        _shown("id version base_url rejected_reason", times="created_at rejected_at"), "credential"
    ),
    "endpoint": _Source(
        _shown(
            "id url description events algorithm header_names delays concurrency rate_limit"
            " disabled_reason",
            times="disabled_at created_at updated_at deleted_at",
        ),
        "endpoint",
    ),
    "job": _Source(
        _shown(
            "id name workflow batch_name state params metadata copy_results_to callback_url"
            " priority idempotency_key retry_of upstream_id submit_attempts version result error",
            times="created_at deadline_at submitted_at started_at completed_at deleted_at",
        ),
        "job",
        size=size_of("t"),
        part=("note", _NOTES, (UUID(int=0), UUID(int=0))),
    ),
    "event": _Source(
        _shown("id job_id type", times="created_at", body="t.body::json"),
        "event",
        order=(("xact", "bigint"), ("id", "uuid")),
        start=(-1, UUID(int=0)),
        size="octet_length(t.body)",
    ),
    "delivery": _Source(
        _shown(
            "id event_id job_id endpoint_id url state attempts last_status last_class last_error",
            times="next_at resent_at created_at completed_at",
        ),
        "delivery",
        part=("attempt", _ATTEMPTS, (UUID(int=0), 0)),
    ),
    "bulk": _Source(
        _shown(
            "id endpoint_id filter state total done",
            times="created_at completed_at",
            operation="t.kind",
        ),
        "bulk",
    ),
    "usage": _Source(
        _shown(
            "workflow status error_code batch_name",
            times="hour",
            **{name: f"sum(t.{name})::bigint" for name in _COUNTS},
            **{f"{name}_seconds": f"sum(t.{name}_microseconds) / 1e6::float8" for name in _TIMES},
        ),
        "usage_hourly",
        order=tuple((name, "timestamptz" if name == "hour" else "text") for name in _USAGE_KEY),
        start=(_LONG_AGO, "", "", "", ""),
        grouped=f"GROUP BY {', '.join(f't.{name}' for name in _USAGE_KEY)}",
    ),
    "audit": _Source(_shown("id key_id action subject detail", times="at"), "audit"),
}


def _statement(source: _Source) -> str:
    key = ", ".join(f"t.{name}" for name, _ in source.order)
    start = ", ".join(f":after_{place}::{of}" for place, (_, of) in enumerate(source.order))
    limit, most = ":limit::bigint", ":most::bigint"
    where = f"WHERE {source.where} AND ({key}) > ({start})"
    if source.grouped:
        return (
            f"SELECT {key}, {source.shown} FROM {source.table} t {where} {source.grouped}"
            f" ORDER BY {key} LIMIT least({limit}, {most})"
        )
    # A row is written as JSON only if it has room.
    return (
        f"SELECT {key}, {source.shown} FROM (SELECT t.*, sum({source.size}) OVER (ORDER BY {key}"
        f" ROWS UNBOUNDED PRECEDING) - ({source.size}) < {most} AS has_room FROM"
        f" (SELECT t.* FROM {source.table} t {where} ORDER BY {key} LIMIT {limit}) AS t) AS t"
        f" WHERE t.has_room ORDER BY {key}"
    )


_PAGES = {kind: Statement(_statement(source)) for kind, source in _SOURCES.items()}
KINDS = tuple(_SOURCES)


class ExportPage(NamedTuple):
    """Lines, and the key after them where there may be more."""

    lines: list[str]
    next: _Key | None
    ids: Sequence[object] = ()  # of the rows, where rows of another kind belong to them


async def page(
    tx: Tx, kind: str, tenant_id: UUID, after: _Key | None, *, limit: int, most: int
) -> ExportPage:
    """The next rows of a kind of KINDS: up to `limit`, fewer where they come to about `most` bytes."""
    await keep_to_indexes(tx)
    source = _SOURCES[kind]
    key = _key(source.start if after is None else after)
    found = await _PAGES[kind].rows(tx, tenant_id=tenant_id, limit=limit, most=most, **key)
    rows = [tuple(row) for row in found]
    lines = [_line(kind, body) for *_, body in rows]
    ids = [row[0] for row in rows] if source.part else ()
    return ExportPage(lines, rows[-1][:-1] if rows else None, ids)


async def parts(
    tx: Tx, kind: str, tenant_id: UUID, ids: Sequence[object], after: _Key | None, *, limit: int
) -> ExportPage:
    """The next rows of the kind that belongs to the rows of a page."""
    part = _SOURCES[kind].part
    if part is None or not ids:
        return ExportPage([], None)
    name, statement, start = part
    key = _key(after or start)
    found = await statement.rows(tx, tenant_id=tenant_id, ids=ids, limit=limit, **key)
    rows = [tuple(row) for row in found]
    lines = [_line(name, body) for *_, body in rows]
    return ExportPage(lines, rows[-1][:-1] if len(rows) == limit else None)


def _line(kind: str, body: str) -> str:
    # Stored JSON is the caller's own text, so there may be line breaks between its tokens.
    flat = body.replace("\r", " ").replace("\n", " ")
    return f'{{"kind":"{kind}",{flat[1:]}'


def _key(values: _Key) -> dict[str, object]:
    return {f"after_{place}": value for place, value in enumerate(values)}
