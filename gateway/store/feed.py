"""The feed: a tenant's events in an order to which nothing is ever added in front of a reader.

The order is that of the transactions that stored them. A reader is shown only what is older than
every transaction still under way, so no later commit can come before what was shown.

Transaction ids belong to one Postgres cluster. An epoch stands in front of them, in the upper bits of
the same number, so that what another cluster stores is behind all that was stored before. The beacon
remembers a horizon; where the present one is lower, this is another cluster, and from its first
statement on a new epoch holds, before anybody has written so.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx

_BITS = 48


def _placed(number: str) -> str:
    """The place of a transaction in the feed, asked once for each statement."""
    return (
        f"(SELECT ((b.epoch + (b.horizon > {number})::int)::bigint << {_BITS}) + {number}"
        " FROM beacon b)"
    )


_OLDEST_UNDER_WAY = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_HORIZON = _placed(_OLDEST_UNDER_WAY)
# Of an event that is stored by the present transaction.
PLACE = _placed("pg_current_xact_id()::text::bigint")

_LOCK = "LOCK TABLE event IN SHARE ROW EXCLUSIVE MODE"
_NEXT_EPOCH = f"""
UPDATE beacon b SET epoch = b.epoch + 1, horizon = {_OLDEST_UNDER_WAY}, cluster = $1
FROM (SELECT epoch, horizon FROM beacon) AS old
RETURNING (old.epoch::bigint << {_BITS}) + old.horizon AS since,
  (b.epoch::bigint << {_BITS}) AS next"""
# What was stored here since the horizon was remembered: rows that were restored have another xmin.
_REPLACE = f"""
UPDATE event SET xact = e.xact + (1::bigint << {_BITS})
FROM tenant t CROSS JOIN LATERAL (SELECT f.id, f.xact FROM event f WHERE f.tenant_id = t.id
  AND f.xact >= $1 AND f.xact < $2 AND f.xmin::text::bigint = f.xact & 4294967295) AS e
WHERE event.id = e.id"""

_MOST_BYTES = 8_000_000

# One index probe for each tenant: the feed of one costs the same however many there are. The last
# column says whether a page had no room for more.
_PAGE = f"""
SELECT h.horizon, e.id, e.tenant_id, e.slug, e.type, e.job_id, e.created_at, e.body, e.xact,
  e.found > count(e.id) OVER () OR e.found = $5
FROM (SELECT {_HORIZON} AS horizon) AS h LEFT JOIN (SELECT f.*, count(*) OVER () AS found,
    sum(octet_length(f.body)) OVER (ORDER BY f.xact, f.id ROWS UNBOUNDED PRECEDING)
      - octet_length(f.body) < {_MOST_BYTES} AS has_room
  FROM (
  SELECT f.id, f.tenant_id, t.slug, f.type, f.job_id, f.created_at, f.body, f.xact
  FROM (SELECT id, slug FROM tenant WHERE $1::uuid[] IS NULL OR id = ANY($1)) AS t
  CROSS JOIN LATERAL (SELECT * FROM event f WHERE f.tenant_id = t.id
      AND (NOT f.is_sample OR $6 AND f.endpoint_id IS NULL)
      AND (f.xact, f.id) > ($2::bigint, $3::uuid) AND f.xact < {_HORIZON}
      AND ($4::text[] IS NULL OR f.type = ANY($4))
    ORDER BY f.xact, f.id LIMIT $5) AS f
  ORDER BY f.xact, f.id LIMIT $5) AS f) AS e ON e.has_room
ORDER BY e.xact, e.id"""

_GROWN = f"""
SELECT {_HORIZON}, ARRAY(
  SELECT t.id FROM (SELECT id FROM tenant WHERE $1::uuid[] IS NULL OR id = ANY($1)) AS t
  CROSS JOIN LATERAL (SELECT FROM event f WHERE f.tenant_id = t.id
    AND f.xact >= $2::bigint AND f.xact < {_HORIZON} LIMIT 1) AS one)"""

_PLACE = """
SELECT xact, id FROM event WHERE id = $2 AND ($1::uuid[] IS NULL OR tenant_id = ANY($1))"""

# Of each tenant the first event since then. One whose transaction began a little later may have
# stored its own before.
_OLDEST = f"""
SELECT COALESCE((SELECT min(f.xact)
  FROM (SELECT id FROM tenant WHERE $1::uuid[] IS NULL OR id = ANY($1)) AS t
  CROSS JOIN LATERAL (SELECT created_at FROM event e
    WHERE e.tenant_id = t.id AND e.created_at >= $2 ORDER BY e.created_at LIMIT 1) AS first
  CROSS JOIN LATERAL (SELECT min(e.xact) AS xact FROM event e WHERE e.tenant_id = t.id
    AND e.created_at BETWEEN first.created_at AND first.created_at + $3::interval) AS f),
  {_HORIZON})"""
# Longer than any transaction of ours.
_TRANSACTION = timedelta(minutes=1)


class FeedPosition(NamedTuple):
    """A place in the feed: behind the event of that transaction, with its epoch, and id."""

    xact: int
    id: UUID


LAST_ID = UUID(int=2**128 - 1)
START = FeedPosition(-1, UUID(int=0))


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
        """Where the feed goes on behind it."""
        return FeedPosition(self.xact, self.id)


class FeedPage(NamedTuple):
    """Events, the place behind all that was looked at to find them, and whether there may be more."""

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
) -> FeedPage:
    """The next events of tenants, None for all, about 8 MB at most; no types means all of them.

    With samples also those that were made for whoever follows the feed.
    """
    ids = None if tenants is None else list(tenants)
    rows = await tx.rows(_PAGE, ids, after.xact, after.id, list(types) or None, limit, samples)
    events = [FeedEvent(*row[1:-1]) for row in rows if row.id is not None]
    if events and rows[0][-1]:
        return FeedPage(events, events[-1].place, more=True)
    # All up to the horizon of the same snapshot was seen, and nothing can be added there.
    return FeedPage(events, max(after, _before(rows[0].horizon)))


async def grown(tx: Tx, tenants: Sequence[UUID] | None, since: int) -> tuple[int, Sequence[UUID]]:
    """The horizon that readers are shown, and whose feeds may have grown since an earlier one."""
    horizon, ids = await tx.one(_GROWN, None if tenants is None else list(tenants), since)
    return horizon, ids


async def place_of(tx: Tx, tenants: Sequence[UUID] | None, event_id: UUID) -> FeedPosition | None:
    """Where an event is; None where these tenants have none of that id."""
    row = await tx.row(_PLACE, None if tenants is None else list(tenants), event_id)
    return FeedPosition(*row) if row else None


async def place_since(tx: Tx, tenants: Sequence[UUID] | None, at: datetime) -> FeedPosition:
    """A place behind which is all that was stored for tenants, None for all, at a time or later."""
    ids = None if tenants is None else list(tenants)
    return _before((await tx.one(_OLDEST, ids, at, _TRANSACTION))[0])


async def end(tx: Tx) -> FeedPosition:
    """The place behind all that a reader could be shown now."""
    return _before((await tx.one(f"SELECT {_HORIZON}"))[0])


def _before(horizon: int) -> FeedPosition:
    return FeedPosition(horizon - 1, LAST_ID)


async def begin_epoch(tx: Tx, cluster: int | None) -> int:
    """Have all that is stored from now on come behind all that was; how many events were moved there.

    Those are what this cluster has stored before it was noticed. Nobody stores events meanwhile.
    """
    await tx.rows(_LOCK)
    since, next_ = await tx.one(_NEXT_EPOCH, cluster)
    return await tx.run(_REPLACE, since, next_)
