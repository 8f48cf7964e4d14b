"""Keeps the sender away from addresses that may not be called.

Two lines of defence. A name is refused as soon as one of its addresses is forbidden. Whoever makes
a socket then judges the very address that is about to be connected to, whichever way it was come
by, so a literal address or a name that changed its answer gets no further than a name does.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

import structlog

from gateway.adapters.webhooks.resolver import CrowdedError, SystemResolver
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.core.webhooks.ssrf_rules import Network, forbidden

LOOKUP_SECONDS = 2.0
NO_ADDRESS = "has no address that may be called"
_MAX_ADDRESSES = 8  # a name with hundreds of addresses must not make us knock on all of them

_log = structlog.get_logger(__name__)

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
# Family, type, protocol, canonical name, address: as `socket.getaddrinfo` gives it.
AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


class BlockedError(OSError):
    """The address may not be called."""


class UnresolvedError(OSError):
    """The name has no addresses, or none within the deadline; the text says which."""


class SlowLookupError(UnresolvedError):
    """The name had no addresses within the deadline, or would not have had."""


class SsrfGuard:
    """Resolves names and opens sockets, both only for addresses that may be called.

    `lookup` finds the addresses of a name and raises OSError or UnicodeError where it has none.
    """

    def __init__(self, allowed: Sequence[Network], lookup: Lookup | None = None) -> None:
        self._allowed = tuple(allowed)
        self._system = SystemResolver(LOOKUP_SECONDS)
        self._lookup = lookup or self._system

    def refuses(self, address: str) -> bool:
        """Whether this address, as text, may not be called."""
        return forbidden(ip_address(address), self._allowed) is not None

    async def find(self, host: str, port: int) -> list[str]:
        """All addresses of a name, whatever they are; raises UnresolvedError.

        What may be otherwise in a moment, such as a server that does not answer, is a SlowLookupError.
        """
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._lookup(host, port)
        except TimeoutError:
            raise SlowLookupError(f"did not resolve within {LOOKUP_SECONDS:g} s") from None
        except CrowdedError:
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
        """The first addresses of a name; raises UnresolvedError, also if any of them is forbidden.

        With the same words: whether there is such a name in a network of the operator's is not for
        the tenant to know. The log tells the operator.
        """
        try:
            found = await self.find(host, port)
        except SlowLookupError:
            raise
        except UnresolvedError:
            raise UnresolvedError(NO_ADDRESS) from None
        inside = next(filter(self.refuses, found), None)
        if inside is not None:
            _log.warning("a name leads to an address that may not be called", host=host, at=inside)
            raise UnresolvedError(NO_ADDRESS)
        return found[:_MAX_ADDRESSES]

    def open_socket(self, info: AddressInfo, stopwatch: PhaseTimer) -> socket.socket:
        """A socket for one concrete address; raises BlockedError."""
        if self.refuses(info[4][0]):
            raise BlockedError
        stopwatch.connect()
        return socket.socket(info[0], info[1], info[2])

    async def close(self) -> None:
        """Give up on the lookups that are under way."""
        self._system.close()
