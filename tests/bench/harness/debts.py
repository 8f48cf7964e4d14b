"""A gateway that owes webhooks to receivers, and how long each of them takes."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from gateway.adapters.clock import SystemClock, SystemIds
from gateway.adapters.wakeups.queue import ArqQueue
from gateway.embedded import free_port
from tests.bench.harness.gateways import Gateway, make_gateway
from tests.bench.harness.owed import (
    Connection,
    Endpoint,
    add_endpoints,
    connected,
    endpoints_at,
    owe,
)
from tests.bench.harness.parts import Outside, Servers, start, start_outside

_PATIENCE_SECONDS = 180.0
_STEP_SECONDS = 0.05
_UNHEARD = "SELECT state, count(*) FROM delivery WHERE job_id = ANY($1::uuid[]) GROUP BY state"


@dataclass(slots=True)
class Debts:
    """A gateway with its receivers; `well` are the endpoints at the receiver's further ports."""

    gateway: Gateway
    outside: Outside
    connection: Connection
    queue: ArqQueue
    well: Sequence[Endpoint]
    others: Sequence[Endpoint]
    _waited_for: int = 0

    def wake(self) -> None:
        """Tell the worker that something is due."""
        self.queue.wake("deliver")

    async def owe(self, endpoints: Sequence[Endpoint], count: int) -> dict[str, float]:
        """Owe webhooks to endpoints in turns, and tell the worker."""
        owed = await owe(self.connection, endpoints, count)
        self.wake()
        return owed

    async def heard(self, owed: dict[str, float]) -> list[float]:
        """Wait for webhooks; when each came. Raises RuntimeError when one does not."""
        self._waited_for += len(owed)
        await self.outside.heard_of(self._waited_for, _PATIENCE_SECONDS)
        arrivals = await self.outside.arrivals()
        if missing := [job for job in owed if job not in arrivals]:
            states = dict(await self.connection.fetch(_UNHEARD, missing))
            raise RuntimeError(
                f"{len(missing)} of {len(owed)} webhooks did not come within"
                f" {_PATIENCE_SECONDS:.0f} s, their deliveries are {states}."
                f" The worker's complaints:\n{self.gateway.complaints('worker')}"
            )
        return [arrivals[job] for job in owed]

    async def paced(
        self, endpoints: Sequence[Endpoint], pace: float, goes_on: Callable[[], Awaitable[bool]]
    ) -> dict[str, float]:
        """Owe so many webhooks a second in turns for a time; the instant of each, by its job."""
        owed: dict[str, float] = {}
        started = time.monotonic()
        while await goes_on():
            due = round((time.monotonic() - started) * pace) - len(owed)
            if due > 0:
                # A random place to begin at would favour nobody; this one favours the last.
                first = len(owed) % len(endpoints)
                owed |= await self.owe([*endpoints[first:], *endpoints[:first]], due)
            await asyncio.sleep(_STEP_SECONDS)
        return owed

    async def waits(self, owed: dict[str, float]) -> list[float]:
        """How long each webhook took to come."""
        arrived = await self.heard(owed)
        return [at - since for at, since in zip(arrived, owed.values(), strict=True)]


def lasting(seconds: float) -> Callable[[], Awaitable[bool]]:
    """Whether a time has not passed yet."""
    until = time.monotonic() + seconds

    async def goes_on() -> bool:
        return time.monotonic() < until

    return goes_on


@asynccontextmanager
async def start_debts(
    name: str,
    servers: Servers,
    *,
    ports: int,
    turn: int = 0,
    others: Sequence[str] = (),
    milliseconds: int = 0,
) -> AsyncGenerator[Debts]:
    """A receiver with so many further ports, and a gateway whose tenants have endpoints there.

    The receiver answers after so many milliseconds. `others` are URLs of further endpoints. Neither
    API nor worker runs.
    """
    async with AsyncExitStack() as stack:
        port = free_port()
        command = ("tests.bench.harness.receiver", str(port), str(ports), str(milliseconds))
        sink = await stack.enter_async_context(start(servers.folder, "sink", *command, port=port))
        outside = await stack.enter_async_context(start_outside(servers.folder))
        outside = replace(outside, receiver=sink)
        gateway = await make_gateway(name, servers, outside, turn=turn)
        well = [f"http://127.0.0.1:{port}/hook" for port in await outside.ports()]
        async with gateway.api() as api:
            await gateway.seed(api)
            await add_endpoints(api, gateway.keys, [*well, *others])
        connection = await stack.enter_async_context(connected(gateway.env["GATEWAY_DATABASE_URL"]))
        redis_url = gateway.env["GATEWAY_REDIS_URL"]
        yield Debts(
            gateway,
            outside,
            connection,
            await stack.enter_async_context(ArqQueue(redis_url, SystemClock(), SystemIds())),
            await endpoints_at(connection, well),
            await endpoints_at(connection, others),
        )
