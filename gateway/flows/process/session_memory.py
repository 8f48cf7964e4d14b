"""The sessions that this process looked up in the last five seconds, so that a page costs one read."""

from collections.abc import Callable
from typing import NamedTuple

from gateway.core.model import Tenant
from gateway.core.portal.look import PortalLook
from gateway.store.tenancy.sessions import StoredSession

_TTL_SECONDS = 5.0
_MOST = 10_000
# What may end a session or change what it shows.
_SUBJECTS = frozenset({"session", "key", "tenant", "*"})


class KnownSession(NamedTuple):
    """A session as it is stored, the tenant whose portal it is for, and how that looks."""

    stored: StoredSession
    tenant: Tenant | None
    look: PortalLook = PortalLook()


class SessionMemory:
    """Sessions by the digest of their token, each with the monotonic time of its read.

    An announcement that a session, a key or a tenant changed clears it, so an end holds at once in every
    process that Redis reaches, and in all others when the five seconds are over.
    """

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[KnownSession, float]] = {}
        self._cleared = 0

    def get(self, digest: bytes, monotonic: float) -> KnownSession | None:
        """The session of a digest, if it was read a moment ago."""
        known = self._found.get(digest)
        return known[0] if known and monotonic - known[1] < _TTL_SECONDS else None

    def keeper(self, digest: bytes, monotonic: float) -> Callable[[KnownSession], None]:
        """What stores the result of a read that begins now; nothing if an announcement comes meanwhile."""
        cleared = self._cleared

        def keep(found: KnownSession) -> None:
            if cleared != self._cleared:
                return
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[digest] = (found, monotonic)

        return keep

    def hear(self, subject: str) -> None:
        """Handle an announcement."""
        if subject.partition(":")[0] in _SUBJECTS:
            self._cleared += 1
            self._found.clear()
