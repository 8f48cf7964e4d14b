"""The four links of a gateway: to Postgres, to Valkey, to the upstream, to the receivers."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from tests.faults.harness.proxy import Proxy, proxied
from tests.faults.harness.rig import HOST, Rig


@dataclass(slots=True)
class Links:
    """Proxies on the four ways out of a gateway."""

    postgres: Proxy
    valkey: Proxy
    upstream: Proxy
    receiver: Proxy

    def heal(self) -> None:
        """All as at the start."""
        for proxy in (self.postgres, self.valkey, self.upstream, self.receiver):
            proxy.heal()


@asynccontextmanager
async def linked(rig: Rig) -> AsyncGenerator[Links]:
    """Proxies for the time of the block."""
    ports = (rig.postgres.port, rig.valkey.port, _port(rig.simulator), _port(rig.receiver))
    async with AsyncExitStack() as stack:
        yield Links(*[await stack.enter_async_context(proxied(HOST, port)) for port in ports])


def _port(url: str) -> int:
    return httpx.URL(url).port or 80
