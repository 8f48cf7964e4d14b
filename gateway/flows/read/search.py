"""The search box: one text, and everything that it is the id or the name of.

Each look-up goes through an index and returns a few rows, so an answer costs the same in a gateway with
ten million jobs. It only reads, and sees the caller's tenants alone (row-level security).
"""

import re
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

from gateway.flows.deps import Deps
from gateway.flows.read.export import reading
from gateway.store import lookup
from gateway.store.job_search.search import keep_to_indexes
from gateway.store.lookup import LookupMatch

LONGEST = 512
_MOST = 20
# A job id is 32 digits; its first eight are a minute, so fewer of them would say nothing.
_ID_DIGITS = 32
_LEAST_DIGITS = 8
_DIGITS = re.compile(r"[0-9a-f]+")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_JOB_KINDS = frozenset({"job", "batch"})


@dataclass(frozen=True, slots=True)
class SearchScope:
    """What a caller may find: in which tenants (None: all), and which kinds of things."""

    tenants: tuple[UUID, ...] | None
    jobs: bool = True
    webhooks: bool = True
    every_tenant: bool = False  # tenants themselves are found, too

    def shows(self, found: LookupMatch) -> bool:
        """Whether the caller may see this kind."""
        if found.kind == "tenant":
            return self.every_tenant
        return self.jobs if found.kind in _JOB_KINDS else self.webhooks


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found; `path` is where the API shows it."""

    kind: str
    id: str
    tenant: str
    label: str
    path: str


async def search(deps: Deps, text: str, scope: SearchScope) -> list[Hit]:
    """What a text is the id or the name of, at most twenty hits; the best match is first."""
    wanted = text.strip()
    if not wanted or "\0" in wanted or scope.tenants == ():
        return []
    tenants = None if scope.tenants is None else list(scope.tenants)
    found: list[LookupMatch] = []
    async with deps.db.single() as tx:
        credentials = await lookup.credentials_of(tx, tenants)
    async with reading(deps.db, scope.tenants) as tx:
        await keep_to_indexes(tx)
        if bounds := _id_bounds(wanted):
            first, last = bounds
            if first == last:
                found += await lookup.by_id(tx, first, tenants, _MOST)
            else:
                found += await lookup.jobs_between(tx, first, last, tenants, _MOST)
        found += await lookup.by_upstream_id(tx, wanted, credentials, tenants, _MOST)
        found += await lookup.by_name(tx, wanted, tenants, _MOST)
        if scope.every_tenant and _SLUG.fullmatch(wanted.lower()):
            found += await lookup.tenants_from(tx, wanted.lower(), _MOST)
    shown = [one for one in dict.fromkeys(found) if scope.shows(one)]
    return [_hit(one, scope) for one in shown[:_MOST]]


def _id_bounds(text: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin with a text; None unless it looks like an id."""
    digits = text.lower().replace("-", "")
    if not _LEAST_DIGITS <= len(digits) <= _ID_DIGITS or not _DIGITS.fullmatch(digits):
        return None
    return UUID(digits.ljust(_ID_DIGITS, "0")), UUID(digits.ljust(_ID_DIGITS, "f"))


def _hit(found: LookupMatch, scope: SearchScope) -> Hit:
    return Hit(*found, path=_path(found, scope))


def _path(found: LookupMatch, scope: SearchScope) -> str:
    match found.kind:
        case "job":
            return f"{'/admin/v1' if scope.every_tenant else '/v1'}/job/{found.id}"
        case "delivery":
            return f"/v1/delivery/{found.id}"
        case "batch":
            return f"/v1/job?batchName={quote(found.id, safe='')}"
        case "tenant":
            return f"/admin/v1/tenant/{found.id}"
        case _:
            return f"/v1/event?after={found.id}"
