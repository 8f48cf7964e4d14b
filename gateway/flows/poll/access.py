"""Which credential a polling round asks with.

It is the one that the jobs were submitted with, also after a rotation: only that one is sure to see
them. If the upstream rejected it, or it was given up with a lost master key, the tenant's present
credential takes its place as a substitute.
"""

from dataclasses import dataclass

from gateway.flows.deps import Deps
from gateway.flows.upstream.circuit_breaker import CredentialHealth
from gateway.flows.upstream.credential_access import choose_credential
from gateway.ports import Access, Sealed
from gateway.store.tenancy import tenants
from gateway.store.work.polls import ToPoll


@dataclass(frozen=True, slots=True)
class PollAccess:
    """The access that a round uses, and the health of the credential behind it."""

    health: CredentialHealth
    access: Access | Sealed
    is_substitute: bool = False


def health_of(credential: ToPoll) -> CredentialHealth:
    """The health of a credential as it was claimed."""
    return CredentialHealth(
        credential.id,
        credential.tenant_id,
        credential.version,
        credential.failures,
        credential.rejected,
    )


async def choose_access(deps: Deps, credential: ToPoll) -> PollAccess:
    """The credential's own access, or that of a substitute if it is of no use and there is one."""
    access = deps.access(
        credential.tenant_id,
        credential.id,
        credential.version,
        credential.base_url,
        credential.sealed,
    )
    if credential.rejected or not credential.sealed:
        async with deps.db.single() as tx:
            stored = await tenants.credential_by_id(tx, credential.id)
            chosen = stored and await choose_credential(tx, deps, stored)
        if chosen is not None and chosen.is_substitute:
            other = chosen.credential
            health = CredentialHealth(other.id, other.tenant_id, other.version, 0, rejected=False)
            return PollAccess(health, chosen.access, is_substitute=True)
    return PollAccess(health_of(credential), access)
