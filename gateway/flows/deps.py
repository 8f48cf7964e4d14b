"""What every flow is handed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from gateway.core.cipher import AssociatedData, CannotOpenError, Cipher, Secret
from gateway.core.schedule import Policy
from gateway.flows.process.restore_detector import RestoreDetector
from gateway.flows.process.slots import Slots
from gateway.flows.process.vitals import Vitals
from gateway.ports import (
    Access,
    Catalogue,
    Ids,
    Limiter,
    Observer,
    Queue,
    Sealed,
    Sender,
    SharedClock,
    Upstream,
)
from gateway.store.database import Database

_TELL_AGAIN_SECONDS = 60.0


def credential_place(tenant_id: UUID, credential_id: UUID, version: int) -> AssociatedData:
    """Where the key of a credential is sealed for."""
    return AssociatedData("credential", str(tenant_id), str(credential_id), version)


def secret_place(tenant_id: UUID, secret_id: UUID) -> AssociatedData:
    """Where a signing secret is sealed for."""
    return AssociatedData("signing_secret", str(tenant_id), str(secret_id))


def go_on(_point: str) -> None:
    """Nothing happens at a crash point."""


@dataclass(frozen=True, slots=True)
class Deps:
    """The outside, the rules, and this process's room for work."""

    db: Database
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
    # When the operator is told again of a master key that is missing, by its number.
    told_of_keys: dict[str, float] = field(default_factory=dict[str, float])
    restore_detector: RestoreDetector = field(default_factory=RestoreDetector)
    vitals: Vitals = field(default_factory=Vitals)
    # Called by name after every step that wrote or called out; tests end the process there.
    crash_point: Callable[[str], None] = go_on

    def access(
        self, tenant_id: UUID, credential_id: UUID, version: int, base_url: str, sealed: bytes
    ) -> Access | Sealed:
        """Open a credential for calls; that no master key opens one is reported to the operator."""
        place = credential_place(tenant_id, credential_id, version)
        try:
            key = self.cipher.open(sealed, place).decode()
        except CannotOpenError as error:
            self.report_sealed(error)
            return Sealed()
        return Access(credential_id, base_url, Secret(key))

    def report_sealed(self, error: CannotOpenError) -> None:
        """Tell the operator of a secret that no master key opens, once a minute for each key."""
        now = self.clock.monotonic()
        if now >= self.told_of_keys.get(error.key, now):
            self.told_of_keys[error.key] = now + _TELL_AGAIN_SECONDS
            self.observer.done("open", "sealed", seconds=0.0, key=error.key, reason=str(error))
