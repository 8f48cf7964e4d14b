"""Keeps the sender away from addresses that may not be called.

Two lines of defence. The resolver refuses a name as soon as one of its addresses is forbidden. The
socket factory then judges the very address that is about to be connected to, whichever way it was
come by, so a literal address or a name that changed its answer gets no further than a name does.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from gateway.adapters.lookups import CrowdedError, SystemLookup
from gateway.adapters.stopwatch import Stopwatch, now, running
from gateway.core.addresses import Network, forbidden

LOOKUP_SECONDS = 2.0
_MAX_ADDRESSES = 8  # a name with hundreds of addresses must not make us knock on all of them

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


class BlockedError(OSError):
    """The address may not be called."""


class UnresolvedError(OSError):
    """The name has no addresses, or none within the deadline; the text says which."""


class SlowLookupError(UnresolvedError):
    """The name had no addresses within the deadline, or would not have had."""


class Vetting(AbstractResolver):
    """Resolves names and opens sockets, both only for addresses that may be called.

    `lookup` finds the addresses of a name and raises OSError or UnicodeError where it has none.
    """

    def __init__(self, allowed: Sequence[Network], lookup: Lookup | None = None) -> None:
        self._allowed = tuple(allowed)
        self._system = SystemLookup(LOOKUP_SECONDS)
        self._lookup = lookup or self._system

    def refuses(self, address: str) -> bool:
        """Whether this address, as text, may not be called."""
        return forbidden(ip_address(address), self._allowed) is not None

    async def find(self, host: str, port: int) -> list[str]:
        """All addresses of a name, whatever they are; raises UnresolvedError."""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._lookup(host, port)
        except TimeoutError:
            raise SlowLookupError(f"did not resolve within {LOOKUP_SECONDS:g} s") from None
        except CrowdedError:
            raise SlowLookupError("was not looked up, as too many others hang") from None
        except (OSError, UnicodeError):
            raise UnresolvedError("does not resolve") from None
        if not found:
            raise UnresolvedError("does not resolve")
        return list(dict.fromkeys(found))

    async def addresses(self, host: str, port: int) -> list[str]:
        """All addresses of a name; raises BlockedError if any is forbidden, or UnresolvedError."""
        found = await self.find(host, port)
        if any(map(self.refuses, found)):
            raise BlockedError
        return found

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        stopwatch = running.get() or Stopwatch()
        stopwatch.looking_up = now()
        try:
            addresses = await self.addresses(host, port)
        finally:
            stopwatch.resolved = now()
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses[:_MAX_ADDRESSES]
        ]

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """A socket for one concrete address; raises BlockedError."""
        if self.refuses(info[4][0]):
            raise BlockedError
        (running.get() or Stopwatch()).connect()
        return socket.socket(info[0], info[1], info[2])

    @override
    async def close(self) -> None:
        self._system.close()
