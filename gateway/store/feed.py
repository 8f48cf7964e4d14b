"""The feed: events in an order in which nothing is ever added before a position that a reader has passed.

The order is that of the ids of the transactions that stored the events. A reader is shown only events that
are older than every transaction still running (the horizon), so no later commit can come before them.

Transaction ids belong to one Postgres cluster. An epoch is kept in the upper bits of the same number, so
that events of a later cluster come after all events of an earlier one. The row `beacon` keeps the last
horizon. Where the present horizon is lower, this is another cluster, and the next epoch holds from its
first statement on, even before it is written down.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import AnyRow, Tx
from gateway.store.statement import Query, Statement

_BITS = 48


def _placed(number: str) -> str:
    """The position of a transaction in the feed; a subquery that runs once a statement."""
    return (
        f"(SELECT ((b.epoch + (b.horizon > {number})::int)::bigint << {_BITS}) + {number}"
        " FROM beacon b)"
    )


_OLDEST_UNDER_WAY = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_HORIZON = _placed(_OLDEST_UNDER_WAY)
# The position of an event that the present transaction stores.
PLACE = _placed("pg_current_xact_id()::text::bigint")

_LOCK = Statement("LOCK TABLE event IN SHARE ROW EXCLUSIVE MODE")
_NEXT_EPOCH = Statement(
    f"""
UPDATE beacon b SET epoch = b.epoch + 1, horizon = {_OLDEST_UNDER_WAY}, cluster = :cluster
FROM (SELECT epoch, horizon FROM beacon) AS old
RETURNING (old.epoch::bigint << {_BITS}) + old.horizon AS since,
  (b.epoch::bigint << {_BITS}) AS next"""
)
# Events that this cluster has stored since the horizon was kept. Restored rows have another xmin.
_REPLACE = Statement(
    f"""
UPDATE event SET xact = e.xact + (1::bigint << {_BITS})
FROM tenant t CROSS JOIN LATERAL (SELECT f.id, f.xact FROM event f WHERE f.tenant_id = t.id
  AND f.xact >= :since AND f.xact < :next AND f.xmin::text::bigint = f.xact & 4294967295) AS e
WHERE event.id = e.id"""
)

_MOST_BYTES = 8_000_000

# One index probe for each tenant. `is_full` says that there was no room for all events found.
_PAGE = Statement(
    f"""
SELECT h.horizon, e.id, e.tenant_id, e.slug, e.type, e.job_id, e.created_at, e.body, e.xact,
  e.found > count(e.id) OVER () OR e.found = :limit AS is_full
FROM (SELECT {_HORIZON} AS horizon) AS h LEFT JOIN (SELECT f.*, count(*) OVER () AS found,
    sum(octet_length(f.body)) OVER (ORDER BY f.xact, f.id ROWS UNBOUNDED PRECEDING)
      - octet_length(f.body) < :most AS has_room
  FROM (
  SELECT f.id, f.tenant_id, t.slug, f.type, f.job_id, f.created_at, f.body, f.xact
  FROM (SELECT id, slug FROM tenant WHERE :tenants::uuid[] IS NULL OR id = ANY(:tenants)) AS t
  CROSS JOIN LATERAL (SELECT * FROM event f WHERE f.tenant_id = t.id
      AND (NOT f.is_sample OR :samples AND f.endpoint_id IS NULL)
      AND (f.xact, f.id) > (:xact::bigint, :id::uuid) AND f.xact < {_HORIZON}
      AND (:types::text[] IS NULL OR f.type = ANY(:types))
    ORDER BY f.xact, f.id LIMIT :limit) AS f
  ORDER BY f.xact, f.id LIMIT :limit) AS f) AS e ON e.has_room
ORDER BY e.xact, e.id"""
)

_GROWN = Statement(
    f"""
SELECT {_HORIZON} AS horizon, ARRAY(
  SELECT t.id FROM (SELECT id FROM tenant WHERE :tenants::uuid[] IS NULL OR id = ANY(:tenants)) AS t
  CROSS JOIN LATERAL (SELECT FROM event f WHERE f.tenant_id = t.id
    AND f.xact >= :since::bigint AND f.xact < {_HORIZON} LIMIT 1) AS one) AS ids"""
)

_END = Statement(f"SELECT {_HORIZON} AS horizon")

# The first event of each tenant since then. Another event of that tenant may have an earlier position
# although its transaction began a little later.
_OLDEST = Statement(
    f"""
SELECT COALESCE((SELECT min(f.xact)
  FROM (SELECT id FROM tenant WHERE :tenants::uuid[] IS NULL OR id = ANY(:tenants)) AS t
  CROSS JOIN LATERAL (SELECT created_at FROM event e
    WHERE e.tenant_id = t.id AND e.created_at >= :at ORDER BY e.created_at LIMIT 1) AS first
  CROSS JOIN LATERAL (SELECT min(e.xact) AS xact FROM event e WHERE e.tenant_id = t.id
    AND e.created_at BETWEEN first.created_at AND first.created_at + :longest::interval) AS f),
  {_HORIZON}) AS xact"""
)
# Longer than any transaction of the gateway.
_TRANSACTION = timedelta(minutes=1)


class FeedPosition(NamedTuple):
    """A position in the feed: after the event of that transaction, with its epoch, and that id."""

    xact: int
    id: UUID


_PLACE = Query(
    """
SELECT xact, id FROM event
WHERE id = :event_id AND (:tenants::uuid[] IS NULL OR tenant_id = ANY(:tenants))""",
    FeedPosition,
)


# Newest first, for people. The newest events of all tenants are among those of the tenants with the newest
# last events. A filter by type looks at `window` events of each, so it costs the same however rare the type is.
_NEWEST = f"""
SELECT f.id, f.tenant_id, t.slug AS tenant, f.type, f.job_id, f.endpoint_id, f.created_at AS at
FROM (SELECT t.id, t.slug FROM tenant t
  CROSS JOIN LATERAL (SELECT l.xact, l.id FROM event l WHERE l.tenant_id = t.id
      AND (l.xact, l.id) < (:xact::bigint, :id::uuid) AND l.xact < {_HORIZON}
    ORDER BY l.xact DESC, l.id DESC LIMIT 1) AS last
  WHERE :tenants::uuid[] IS NULL OR t.id = ANY(:tenants)
  ORDER BY last.xact DESC, last.id DESC LIMIT :limit) AS t
CROSS JOIN LATERAL (SELECT w.* FROM (SELECT id, tenant_id, type, job_id, endpoint_id, created_at, xact, is_sample
    FROM event w WHERE w.tenant_id = t.id
      AND (w.xact, w.id) < (:xact::bigint, :id::uuid) AND w.xact < {_HORIZON}
    ORDER BY w.xact DESC, w.id DESC LIMIT :window) AS w
  WHERE (:types::text[] IS NULL OR w.type = ANY(:types))
    AND (NOT w.is_sample OR :samples AND w.endpoint_id IS NULL)
  ORDER BY w.xact DESC, w.id DESC LIMIT :limit) AS f
ORDER BY f.xact DESC, f.id DESC LIMIT :limit"""

_ONE = """
SELECT e.id, e.tenant_id, t.slug AS tenant, e.type, e.job_id, e.created_at AS at, e.body, e.xact
FROM event e JOIN tenant t ON t.id = e.tenant_id
WHERE e.id = :event_id AND (:tenants::uuid[] IS NULL OR e.tenant_id = ANY(:tenants))"""

LAST_ID = UUID(int=2**128 - 1)
START = FeedPosition(-1, UUID(int=0))
END = FeedPosition(2**63 - 1, LAST_ID)


class FeedEvent(NamedTuple):
    """One event as it was frozen; `tenant` is a slug."""

    id: UUID
    tenant_id: UUID
    tenant: str
    type: str
    job_id: UUID | None
    at: datetime
    body: str
    xact: int

    @property
    def place(self) -> FeedPosition:
        """The position after this event."""
        return FeedPosition(self.xact, self.id)


class EventHead(NamedTuple):
    """An event without its body."""

    id: UUID
    tenant_id: UUID
    tenant: str
    type: str
    job_id: UUID | None
    endpoint_id: UUID | None
    at: datetime


_NEWEST_EVENTS = Query(_NEWEST, EventHead)
_ONE_EVENT = Query(_ONE, FeedEvent)


class FeedPage(NamedTuple):
    """Events, the position after everything that was read to find them, and whether there may be more."""

    events: Sequence[FeedEvent]
    end: FeedPosition
    more: bool = False


async def page(
    tx: Tx,
    tenants: Sequence[UUID] | None,
    after: FeedPosition,
    *,
    types: Sequence[str],
    limit: int,
    samples: bool = False,
    most: int = _MOST_BYTES,
) -> FeedPage:
    """The next events of tenants, None for all, by keyset paging; no types means all types.

    Up to `limit` events, and fewer where their bodies come to about `most` bytes. With `samples` also
    samples that were made for readers of the feed. Costs one index probe for each tenant.
    """
    rows = await _PAGE.rows(
        tx,
        tenants=_ids(tenants),
        xact=after.xact,
        id=after.id,
        types=list(types) or None,
        limit=limit,
        samples=samples,
        most=most,
    )
    events = [_event(row) for row in rows if row.id is not None]
    if events and rows[0].is_full:
        return FeedPage(events, events[-1].place, more=True)
    # Everything up to the horizon of the same snapshot was read, and nothing can be added there.
    return FeedPage(events, max(after, _before(rows[0].horizon)))


async def newest(
    tx: Tx,
    tenants: Sequence[UUID] | None,
    before: FeedPosition,
    *,
    types: Sequence[str],
    limit: int,
    window: int,
    samples: bool = False,
) -> Sequence[EventHead]:
    """The newest events before a position, newest first; with `types` among `window` events of each tenant.

    Only events that readers of the feed can be shown now, so the first one is a place to go on from.
    """
    return await _NEWEST_EVENTS.rows(
        tx,
        tenants=_ids(tenants),
        xact=before.xact,
        id=before.id,
        types=list(types) or None,
        limit=limit,
        window=window,
        samples=samples,
    )


async def find(tx: Tx, tenants: Sequence[UUID] | None, event_id: UUID) -> FeedEvent | None:
    """An event with its body; None where these tenants have no event of that id."""
    return await _ONE_EVENT.row(tx, tenants=_ids(tenants), event_id=event_id)


async def grown(tx: Tx, tenants: Sequence[UUID] | None, since: int) -> tuple[int, Sequence[UUID]]:
    """The present horizon, and the tenants whose feeds may have grown since an earlier one."""
    row = await _GROWN.one(tx, tenants=_ids(tenants), since=since)
    return row.horizon, row.ids


async def place_of(tx: Tx, tenants: Sequence[UUID] | None, event_id: UUID) -> FeedPosition | None:
    """The position of an event; None where these tenants have no event of that id."""
    return await _PLACE.row(tx, tenants=_ids(tenants), event_id=event_id)


async def place_since(tx: Tx, tenants: Sequence[UUID] | None, at: datetime) -> FeedPosition:
    """A position before all events that were stored for tenants, None for all, at a time or later."""
    row = await _OLDEST.one(tx, tenants=_ids(tenants), at=at, longest=_TRANSACTION)
    return _before(row.xact)


async def end(tx: Tx) -> FeedPosition:
    """The position after everything that a reader can be shown now."""
    return _before((await _END.one(tx)).horizon)


def _before(horizon: int) -> FeedPosition:
    return FeedPosition(horizon - 1, LAST_ID)


def _ids(tenants: Sequence[UUID] | None) -> list[UUID] | None:
    return None if tenants is None else list(tenants)


def _event(row: AnyRow) -> FeedEvent:
    return FeedEvent(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=row.slug,
        type=row.type,
        job_id=row.job_id,
        at=row.created_at,
        body=row.body,
        xact=row.xact,
    )


async def begin_epoch(tx: Tx, cluster: int | None) -> int:
    """Begin the next epoch: all events stored from now on come after all earlier ones.

    Returns how many events were moved into it: those that this cluster stored before the move was noticed.
    Locks the table, so that no event is stored meanwhile.
    """
    await _LOCK.rows(tx)
    row = await _NEXT_EPOCH.one(tx, cluster=cluster)
    return await _REPLACE.run(tx, since=row.since, next=row.next)
