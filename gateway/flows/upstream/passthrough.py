"""Pass-through: calls to the upstream while the caller waits, for workflows and uploads.

Lists of workflows are cached for a minute, and an older list is served while the upstream is down.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway.errors import CredentialMissing, SecretSealed, UpstreamTimeout, UpstreamUnavailable
from gateway.flows.deps import Deps
from gateway.flows.upstream.credential_access import open_access
from gateway.ports import Access, Denied, Sealed, Trouble, Upload, Workflow
from gateway.store.tenancy import tenants

_TTL_SECONDS = 60.0
_PAGE = 100
_PAGES = 20
_TENANTS = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    workflows: list[Workflow]
    at: float


class Workflows:
    """The workflows of each tenant's credential, cached for a minute by one process.

    While the upstream is down, the last known list is served.
    """

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._known: dict[UUID, _Known] = {}

    async def page(self, tenant_id: UUID, page: int, size: int) -> list[Workflow]:
        """One page; raises CredentialMissing and UpstreamUnavailable."""
        workflows = await self._all(tenant_id)
        return workflows[page * size : (page + 1) * size]

    async def named(self, tenant_id: UUID, slug: str) -> Workflow | None:
        """The workflow with a slug; None where it is unknown or the list cannot be had."""
        try:
            workflows = await self._all(tenant_id)
        except (CredentialMissing, UpstreamUnavailable):
            return None
        return next((one for one in workflows if one.slug == slug), None)

    async def names(self, tenant_id: UUID) -> frozenset[str]:
        """The slugs of all of them; raises CredentialMissing and UpstreamUnavailable."""
        return frozenset([one.slug for one in await self._all(tenant_id)])

    async def _all(self, tenant_id: UUID) -> list[Workflow]:
        now = self._deps.clock.monotonic()
        known = self._known.get(tenant_id)
        if known is not None and now - known.at < _TTL_SECONDS:
            return known.workflows
        answer = await self._fetch(await access_of(self._deps, tenant_id))
        if isinstance(answer, list):
            self._known[tenant_id] = _Known(answer, now)
            while len(self._known) > _TENANTS:
                del self._known[next(iter(self._known))]
            return answer
        if known is None:
            raise unavailable(answer)
        return known.workflows

    async def _fetch(self, access: Access) -> list[Workflow] | Trouble:
        workflows: list[Workflow] = []
        for number in range(_PAGES):
            answer = await self._deps.catalogue.workflows(access, page=number, size=_PAGE)
            if not isinstance(answer, list):
                return answer
            workflows += answer
            if len(answer) < _PAGE:
                break
        return workflows


async def upload(deps: Deps, tenant_id: UUID) -> Upload:
    """The upstream's signed URLs for one file; raises CredentialMissing, UpstreamUnavailable."""
    answer = await deps.catalogue.upload(await access_of(deps, tenant_id))
    if isinstance(answer, Upload):
        return answer
    raise unavailable(answer)


async def access_of(deps: Deps, tenant_id: UUID) -> Access:
    """The tenant's present access to the upstream; raises CredentialMissing or SecretSealed."""
    async with deps.db.single() as tx:
        credential = await tenants.credential(tx, tenant_id)
    if credential is None:
        raise CredentialMissing(
            "The tenant has no credential for the upstream. An operator has to put one first."
        )
    access = open_access(deps, credential)
    if isinstance(access, Sealed):
        raise SecretSealed.of("the tenant's credential")
    return access


def unavailable(trouble: Trouble) -> UpstreamUnavailable:
    """The error for a caller that waited for the upstream."""
    if isinstance(trouble, Denied):
        return UpstreamUnavailable(
            f"The upstream does not honour the tenant's credential (status {trouble.status})."
        )
    kind = UpstreamTimeout if "timeout" in trouble.reason else UpstreamUnavailable
    return kind(
        f"The upstream gave no usable answer: {trouble.reason}.", retry_after=trouble.retry_after
    )
