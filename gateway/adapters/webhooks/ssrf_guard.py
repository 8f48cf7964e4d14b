"""The SSRF guard: blocks server-side request forgery through webhook URLs.

It checks twice. `addresses` refuses a name if any of its addresses is forbidden. `open_socket` checks
the very address that the connection will use. This also stops literal addresses and DNS rebinding,
where a name changes its answer between the check and the connection. The rules themselves are in
core/webhooks/ssrf_rules.py.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

import structlog

from gateway.adapters.webhooks.resolver import SystemResolver, TooManyLookupsError
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.core.webhooks.ssrf_rules import Network, forbidden

LOOKUP_SECONDS = 2.0
NO_ADDRESS = "has no address that may be called"
_MAX_ADDRESSES = 8  # a name with hundreds of addresses must not cause as many connections

_log = structlog.get_logger(__name__)

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
# Family, type, protocol, canonical name, address: the form of `socket.getaddrinfo`.
AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


class BlockedError(OSError):
    """The address may not be called."""


class UnresolvedError(OSError):
    """The name has no addresses, or none within the deadline; the text says which."""


class SlowLookupError(UnresolvedError):
    """The name did not resolve for a temporary reason, such as a timeout."""


class SsrfGuard:
    """Resolves names and opens sockets, both only for addresses that may be called.

    `allowed` networks are exempt from the rules. `lookup` returns the addresses of a name and raises
    OSError or UnicodeError if it has none; the default is the system's resolver.
    """

    def __init__(self, allowed: Sequence[Network], lookup: Lookup | None = None) -> None:
        self._allowed = tuple(allowed)
        self._system = SystemResolver(LOOKUP_SECONDS)
        self._lookup = lookup or self._system

    def refuses(self, address: str) -> bool:
        """Return whether this address, as text, is blocked."""
        return forbidden(ip_address(address), self._allowed) is not None

    async def find(self, host: str, port: int) -> list[str]:
        """Return all addresses of a name, unchecked; raises UnresolvedError.

        A temporary failure, such as a name server that does not answer, is a SlowLookupError.
        """
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._lookup(host, port)
        except TimeoutError:
            raise SlowLookupError(f"did not resolve within {LOOKUP_SECONDS:g} s") from None
        except TooManyLookupsError:
            raise SlowLookupError("was not looked up, as too many others hang") from None
        except socket.gaierror as error:
            kind = SlowLookupError if error.errno == socket.EAI_AGAIN else UnresolvedError
            raise kind("does not resolve") from None
        except (OSError, UnicodeError):
            raise UnresolvedError("does not resolve") from None
        if not found:
            raise UnresolvedError("does not resolve")
        return list(dict.fromkeys(found))

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the first addresses of a name; raises UnresolvedError, also if any is forbidden.

        The text is the same in both cases, so that a tenant cannot find out which names exist in the
        operator's network. The log tells the operator.
        """
        try:
            found = await self.find(host, port)
        except SlowLookupError:
            raise
        except UnresolvedError:
            raise UnresolvedError(NO_ADDRESS) from None
        inside = next(filter(self.refuses, found), None)
        if inside is not None:
            _log.warning("ssrf guard: a name resolves to a forbidden address", host=host, at=inside)
            raise UnresolvedError(NO_ADDRESS)
        return found[:_MAX_ADDRESSES]

    def open_socket(self, info: AddressInfo, timer: PhaseTimer) -> socket.socket:
        """Open a socket for one concrete address; raises BlockedError."""
        if self.refuses(info[4][0]):
            raise BlockedError
        timer.connect()
        return socket.socket(info[0], info[1], info[2])

    async def close(self) -> None:
        """Abandon the lookups under way."""
        self._system.close()
