"""Usage by day with its total, for people: of all tenants, days that are over are remembered for ten minutes.

A month of all tenants is the sum of a row for each tenant, workflow and status of each day, half a second's
work of Postgres for a thousand tenants. What is added late to such a day shows ten minutes later at most. Reports
of one tenant, and everything that the API answers, are read anew each time.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.flows.deps import Deps
from gateway.flows.settle.usage import Group, group_of, read_sums
from gateway.store.usage.read import ALL, Sums, UsageOnly

_KEPT_SECONDS = 600.0
_MOST = 100
_DAY = timedelta(days=1)


class _Past(NamedTuple):
    since: datetime
    until: datetime
    only: UsageOnly


class UsageDays:
    """The reports of one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._known: dict[_Past, tuple[Sequence[Sums], float]] = {}
        self._asking = asyncio.Lock()

    async def read(
        self,
        visible: Sequence[UUID] | None,
        since: datetime,
        until: datetime,
        *,
        only: UsageOnly = ALL,
    ) -> tuple[list[Group], Group | None]:
        """Usage of tenants (None: all) by day, and that of these days together, None without any.

        Both ends are the starts of days. The roll-ups are read once for both.
        """
        if visible is None:
            found = await self._of_all(since, until, only)
        else:
            found = await read_sums(self._deps, ("day",), (visible, since, until), only)
        days = [group_of(one.group, (one,)) for one in found]
        return days, group_of((), found) if found else None

    async def _of_all(self, since: datetime, until: datetime, only: UsageOnly) -> list[Sums]:
        today = self._deps.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        recent = max(since, min(until, today - _DAY))
        found: list[Sums] = []
        if since < recent:
            found += await self._past(_Past(since, recent, only))
        if recent < until:
            found += await read_sums(self._deps, ("day",), (None, recent, until), only)
        return found

    async def _past(self, past: _Past) -> Sequence[Sums]:
        """The days that are over; those who ask at once share one read."""
        async with self._asking:
            now = self._deps.clock.monotonic()
            known = self._known.get(past)
            if known is not None and now - known[1] < _KEPT_SECONDS:
                return known[0]
            found = await read_sums(self._deps, ("day",), (None, past.since, past.until), past.only)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[past] = (found, now)
            return found
