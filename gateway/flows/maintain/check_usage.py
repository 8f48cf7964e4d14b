"""Usage check: recount the rows, report where the roll-ups differ, and repair them if asked.

It runs for `gateway db check-usage`, while the gateway works: each statement sees rows and roll-ups as
of one moment. Each span of days is one transaction, so a crash leaves whole spans repaired.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from gateway.store.database import Database
from gateway.store.tenancy import tenants
from gateway.store.usage import drift
from gateway.store.usage.drift import Drift

_PAGE = 100
# One statement counts no more rows than it can within the statement timeout.
_ROWS_AT_ONCE = 50_000


async def check_usage(
    database: Database, *, fix: bool, page: int = _PAGE, rows_at_once: int = _ROWS_AT_ONCE
) -> AsyncIterator[tuple[str, Drift]]:
    """Yield each difference between rows and roll-ups as (slug, difference); repair it if `fix`."""
    async for slug, tenant_id in _tenants(database, page):
        async with database.single() as tx:
            days = await drift.days(tx, tenant_id)
        for since, until in _spans(days, rows_at_once):
            async with database.begin() as tx:
                found = await drift.drift(tx, tenant_id, since, until)
                if fix and found:
                    await drift.repair(tx, tenant_id, since, until)
            for one in found:
                yield slug, one


async def _tenants(database: Database, page: int) -> AsyncIterator[tuple[str, UUID]]:
    after: str | None = None
    while True:
        async with database.single() as tx:
            found = await tenants.page(tx, after, page)
        for tenant in found:
            yield tenant.slug, tenant.id
        if len(found) < page:
            return
        after = found[-1].slug


def _spans(
    days: Sequence[tuple[datetime, int]], rows_at_once: int
) -> Iterator[tuple[datetime, datetime]]:
    """Group days into spans of at most so many rows, but at least one day."""
    first, held = None, 0
    for day, rows in days:
        if first is not None and held + rows > rows_at_once:
            yield first, day
            first, held = None, 0
        first, held = first or day, held + rows
    if first is not None:
        yield first, days[-1][0] + timedelta(days=1)
