"""All that is kept of a tenant, as lines of JSON for whoever takes it along; no secrets."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Limits
from gateway.store.database import Tx
from gateway.store.job_search.render import size_of, stamp
from gateway.store.job_search.search import keep_to_indexes

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
    """Where the rows of a kind are, in which order, and what is shown of them."""

    shown: str
    table: str
    # The columns of the order, each with its type, and what they are before the first row.
    order: tuple[tuple[str, str], ...] = (("id", "uuid"),)
    start: _Key = (UUID(int=0),)
    where: str = "t.tenant_id = $1"
    grouped: str = ""
    # About how many bytes a row comes to.
    size: str = "500"
    # A kind whose rows hang on those of this one and are found by its ids, behind a key of their own.
    part: tuple[str, str, _Key] | None = None


_NOTES = f"""
SELECT t.job_id, t.id, {_shown("id job_id type detail", times="at")} FROM job_event t
WHERE t.tenant_id = $1 AND t.job_id = ANY($2::uuid[]) AND (t.job_id, t.id) > ($3, $4)
ORDER BY t.job_id, t.id LIMIT $5"""
_TRIED = "delivery_id number duration_ms url request_headers status response_headers response_body"
_ATTEMPTS = f"""
SELECT t.delivery_id, t.number, {_shown(f"{_TRIED} error_class detail timings", times="started_at next_at")} FROM attempt t
WHERE t.tenant_id = $1 AND t.delivery_id = ANY($2::uuid[]) AND (t.delivery_id, t.number) > ($3, $4)
ORDER BY t.delivery_id, t.number LIMIT $5"""
_USAGE_KEY = ("hour", "workflow", "status", "error_code", "batch_name")
_COUNTS = ("jobs", "submitted", "retries", "webhooks_delivered", "webhooks_failed")
_TIMES = ("wait", "run", "total")

_SOURCES = {
    "tenant": _Source(
        _shown(f"id slug name metadata {_LIMITS}", times="suspended_at created_at updated_at"),
        "tenant",
        where="t.id = $1",
    ),
    "key": _Source(
        _shown("id key_id name scopes", times="created_at expires_at revoked_at last_used_at"),
        "access_key",
    ),
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
KINDS = tuple(_SOURCES)


class ExportPage(NamedTuple):
    """Lines, and the place behind them where there may be more."""

    lines: list[str]
    next: _Key | None
    ids: Sequence[object] = ()  # of the rows, where others hang on them


async def page(
    tx: Tx, kind: str, tenant_id: UUID, after: _Key | None, *, limit: int, most: int
) -> ExportPage:
    """The next rows of a kind of KINDS, fewer than the limit where they are about `most` bytes."""
    await keep_to_indexes(tx)
    source = _SOURCES[kind]
    start = source.start if after is None else after
    sql = _statement(source)
    rows = [tuple(row) for row in await tx.rows(sql, tenant_id, *start, limit, most)]
    lines = [_line(kind, body) for *_, body in rows]
    ids = [row[0] for row in rows] if source.part else ()
    return ExportPage(lines, rows[-1][:-1] if rows else None, ids)


async def parts(
    tx: Tx, kind: str, tenant_id: UUID, ids: Sequence[object], after: _Key | None, *, limit: int
) -> ExportPage:
    """The next of the rows that hang on those of a page."""
    part = _SOURCES[kind].part
    if part is None or not ids:
        return ExportPage([], None)
    name, sql, start = part
    rows = [tuple(row) for row in await tx.rows(sql, tenant_id, ids, *(after or start), limit)]
    lines = [_line(name, body) for *_, body in rows]
    return ExportPage(lines, rows[-1][:-1] if len(rows) == limit else None)


def _line(kind: str, body: str) -> str:
    # JSON is kept as it came, so there may be line breaks between its tokens.
    flat = body.replace("\r", " ").replace("\n", " ")
    return f'{{"kind":"{kind}",{flat[1:]}'


def _statement(source: _Source) -> str:
    key = ", ".join(f"t.{name}" for name, _ in source.order)
    start = ", ".join(f"${place}::{of}" for place, (_, of) in enumerate(source.order, start=2))
    limit, most = (f"${len(source.order) + place}::bigint" for place in (2, 3))
    where = f"WHERE {source.where} AND ({key}) > ({start})"
    if source.grouped:
        return (
            f"SELECT {key}, {source.shown} FROM {source.table} t {where} {source.grouped}"
            f" ORDER BY {key} LIMIT least({limit}, {most})"
        )
    # Each row is written only once it is known to have room.
    return (
        f"SELECT {key}, {source.shown} FROM (SELECT t.*, sum({source.size}) OVER (ORDER BY {key}"
        f" ROWS UNBOUNDED PRECEDING) - ({source.size}) < {most} AS has_room FROM"
        f" (SELECT t.* FROM {source.table} t {where} ORDER BY {key} LIMIT {limit}) AS t) AS t"
        f" WHERE t.has_room ORDER BY {key}"
    )
