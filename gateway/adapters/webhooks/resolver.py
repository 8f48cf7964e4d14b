"""Asks the system's resolver, which cannot be asked to stop: a name that hangs holds up no other.

Every name that is being looked up has a thread of its own, and only one, however often it is asked
for. Threads that hang are not waited for, here or at the end of the process.
"""

import asyncio
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from gateway.adapters.webhooks.timings import now

MOST = 512
# Of one domain: names can be made up, and one server that never answers then hangs them all.
MOST_HANGING = 16
_DOMAIN_LABELS = 2


class CrowdedError(OSError):
    """So many lookups are under way that one more is not begun."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    domain: str
    hangs_from: float
    answer: asyncio.Future[list[str]]


class SystemResolver:
    """Looks names up; what takes longer than `patience` seconds is taken to hang."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._under_way: dict[str, _UnderWay] = {}

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        """The addresses of a name; raises OSError or UnicodeError where it has none."""
        one = self._under_way.get(host) or self._begin(host)
        return await asyncio.shield(one.answer)

    def close(self) -> None:
        """Give up on what is under way."""
        for one in self._under_way.values():
            one.answer.cancel()

    def _begin(self, host: str) -> _UnderWay:
        started = now()
        domain = ".".join(host.split(".")[-_DOMAIN_LABELS:])
        hanging = sum(
            one.domain == domain and one.hangs_from <= started for one in self._under_way.values()
        )
        if hanging >= MOST_HANGING or len(self._under_way) >= MOST:
            raise CrowdedError
        future: Future[list[str]] = Future()
        future.set_running_or_notify_cancel()
        try:
            threading.Thread(target=_answer, args=(host, future), name="dns", daemon=True).start()
        except RuntimeError:  # the machine has no room for one more thread
            raise CrowdedError from None
        one = _UnderWay(domain, started + self._patience, asyncio.wrap_future(future))
        self._under_way[host] = one
        one.answer.add_done_callback(lambda answer: self._end(host, answer))
        return one

    def _end(self, host: str, answer: asyncio.Future[list[str]]) -> None:
        del self._under_way[host]
        if not answer.cancelled():
            answer.exception()  # there may be nobody left who waits for it


def _answer(host: str, future: Future[list[str]]) -> None:
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError) as error:
        future.set_exception(error)
    else:
        future.set_result([str(info[4][0]) for info in infos])
