"""Resolves names with the system's resolver, whose calls cannot be cancelled.

Each name gets one thread, shared by all callers, so that a name that hangs delays no other name.
Threads that hang are never waited for, not even at the end of the process.
"""

import asyncio
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from gateway.adapters.webhooks.timings import now

MAX_LOOKUPS = 512
# An attacker can make up names in one domain whose name server never answers.
MAX_HANGING_PER_DOMAIN = 16
_DOMAIN_LABELS = 2


class TooManyLookupsError(OSError):
    """Too many lookups are under way to start one more."""


@dataclass(frozen=True, slots=True)
class _Lookup:
    domain: str
    hangs_from: float
    answer: asyncio.Future[list[str]]


class SystemResolver:
    """Resolves names; a lookup that takes longer than `hang_seconds` counts as hanging."""

    def __init__(self, hang_seconds: float) -> None:
        self._hang_seconds = hang_seconds
        self._lookups: dict[str, _Lookup] = {}

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        """Return the addresses of a name; raises OSError or UnicodeError if it has none."""
        one = self._lookups.get(host) or self._begin(host)
        return await asyncio.shield(one.answer)

    def close(self) -> None:
        """Abandon the lookups under way."""
        for one in self._lookups.values():
            one.answer.cancel()

    def _begin(self, host: str) -> _Lookup:
        started = now()
        domain = ".".join(host.split(".")[-_DOMAIN_LABELS:])
        hanging = sum(
            one.domain == domain and one.hangs_from <= started for one in self._lookups.values()
        )
        if hanging >= MAX_HANGING_PER_DOMAIN or len(self._lookups) >= MAX_LOOKUPS:
            raise TooManyLookupsError
        future: Future[list[str]] = Future()
        future.set_running_or_notify_cancel()
        try:
            threading.Thread(target=_answer, args=(host, future), name="dns", daemon=True).start()
        except RuntimeError:  # the system refuses one more thread
            raise TooManyLookupsError from None
        one = _Lookup(domain, started + self._hang_seconds, asyncio.wrap_future(future))
        self._lookups[host] = one
        one.answer.add_done_callback(lambda answer: self._end(host, answer))
        return one

    def _end(self, host: str, answer: asyncio.Future[list[str]]) -> None:
        del self._lookups[host]
        if not answer.cancelled():
            answer.exception()  # perhaps no caller is left to read it


def _answer(host: str, future: Future[list[str]]) -> None:
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError) as error:
        future.set_exception(error)
    else:
        future.set_result([str(info[4][0]) for info in infos])
