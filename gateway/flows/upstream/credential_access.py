"""Choose the credential to ask the upstream with about jobs that an earlier credential submitted."""

from dataclasses import dataclass

from gateway.core.model import Credential
from gateway.flows.deps import Deps
from gateway.ports import Access, Sealed
from gateway.store.database import Tx
from gateway.store.tenancy import tenants


@dataclass(frozen=True, slots=True)
class UpstreamAccess:
    """An opened credential; a substitute is not the one that submitted the jobs."""

    credential: Credential
    access: Access | Sealed
    is_substitute: bool = False


def open_access(deps: Deps, credential: Credential) -> Access | Sealed:
    """Open a stored credential."""
    return deps.access(
        credential.tenant_id,
        credential.id,
        credential.version,
        credential.base_url,
        credential.sealed,
    )


async def choose_credential(tx: Tx, deps: Deps, credential: Credential) -> UpstreamAccess:
    """The credential itself, or the tenant's present one as a substitute if it is of no use any more.

    That is if the upstream rejected it, or if it was given up with a lost master key.
    """
    if credential.rejected_at is not None or not credential.sealed:
        present = await tenants.credential(tx, credential.tenant_id)
        if present is not None and present.version > credential.version:
            return UpstreamAccess(present, open_access(deps, present), is_substitute=True)
    return UpstreamAccess(credential, open_access(deps, credential))
