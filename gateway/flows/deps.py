"""Deps: the adapters, the policy and the in-memory state that every flow of a process works with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from gateway.core.crypto.cipher import AssociatedData, CannotOpenError, Cipher, Secret
from gateway.core.policy import Policy
from gateway.core.portal.look import PortalAccess
from gateway.core.sign_in.staff_rules import StaffRules
from gateway.flows.process.history_reader import HistoryReader
from gateway.flows.process.read_replica import Replica
from gateway.flows.process.restore_detector import RestoreDetector
from gateway.flows.process.session_memory import SessionMemory
from gateway.flows.process.slots import Slots
from gateway.flows.process.vitals import Vitals
from gateway.ports import (
    Access,
    Catalogue,
    IdentityProvider,
    Ids,
    Limiter,
    Observer,
    Queue,
    Sealed,
    Sender,
    SharedClock,
    Span,
    Tracer,
    Upstream,
)
from gateway.store.database import Database

_REPORT_AGAIN_SECONDS = 60.0
# A download may wait so long until the replica holds what its caller has seen.
_REACH_SECONDS = 1.0


def credential_place(tenant_id: UUID, credential_id: UUID, version: int) -> AssociatedData:
    """The associated data that a credential is sealed with (core/crypto/cipher.py)."""
    return AssociatedData("credential", str(tenant_id), str(credential_id), version)


def secret_place(tenant_id: UUID, secret_id: UUID) -> AssociatedData:
    """The associated data that a signing secret is sealed with (core/crypto/cipher.py)."""
    return AssociatedData("signing_secret", str(tenant_id), str(secret_id))


def no_crash(_point: str) -> None:
    """The crash point of production: it does nothing."""


@dataclass(frozen=True, slots=True)
class Deps:
    """The adapters, the policy, and the in-memory state of one process."""

    db: Database  # the primary; reads of history ask `history` or `history_to_now` for one instead
    upstream: Upstream
    catalogue: Catalogue
    sender: Sender
    queue: Queue
    limiter: Limiter
    clock: SharedClock
    ids: Ids
    observer: Observer
    cipher: Cipher
    policy: Policy
    upstream_url: str
    slots: Slots
    # Where people reach the gateway, for links that are handed out; empty: the links are relative.
    public_url: str = ""
    portal: PortalAccess = field(default_factory=PortalAccess)
    # When a missing master key is reported again, by its number.
    next_reports: dict[str, float] = field(default_factory=dict[str, float])
    restore_detector: RestoreDetector = field(default_factory=RestoreDetector)
    vitals: Vitals = field(default_factory=Vitals)
    sessions: SessionMemory = field(default_factory=SessionMemory)
    tracer: Tracer | None = None  # None while tracing is off
    replica: Replica | None = None  # None without GATEWAY_READ_DATABASE_URL
    identity_provider: IdentityProvider | None = None  # None without GATEWAY_OIDC_ISSUER
    staff_rules: StaffRules = field(default_factory=StaffRules)
    # Called with a name after every step that wrote or called out; tests kill the process there.
    crash_point: Callable[[str], None] = no_crash

    def access(
        self, tenant_id: UUID, credential_id: UUID, version: int, base_url: str, sealed: bytes
    ) -> Access | Sealed:
        """Open a credential for calls; Sealed, and a report, where no master key opens it."""
        place = credential_place(tenant_id, credential_id, version)
        try:
            key = self.cipher.open(sealed, place).decode()
        except CannotOpenError as error:
            self.report_sealed(error)
            return Sealed()
        return Access(credential_id, base_url, Secret(key))

    def history(self, complete_to: datetime | None = None) -> HistoryReader:
        """For one page or report: rows as they were a few seconds ago, but complete to a moment."""
        return HistoryReader(self.db, self.replica, complete_to)

    async def history_to_now(self) -> HistoryReader:
        """For a download, which must have everything that was committed before it was asked for."""
        now = self.clock.now()
        if self.replica is not None:
            await self.replica.reach(now, _REACH_SECONDS)
        return self.history(now)

    def page_began(self) -> datetime | None:
        """The moment that the cursors of a new list keep; None without a replica, which needs it."""
        return None if self.replica is None else self.clock.now()

    def span(self, work: str, parent: str | None, *, ago: float = 0.0) -> Span | None:
        """Begin a span in the trace of a job; None if tracing is off or the job has no trace."""
        if self.tracer is None or parent is None:
            return None
        return self.tracer.child(work, parent, ago=ago)

    def report_sealed(self, error: CannotOpenError) -> None:
        """Report a secret that no master key opens, at most once a minute for each missing key."""
        now = self.clock.monotonic()
        if now >= self.next_reports.get(error.key, now):
            self.next_reports[error.key] = now + _REPORT_AGAIN_SECONDS
            self.observer.done("open", "sealed", seconds=0.0, key=error.key, reason=str(error))
