"""The flows on a real database, with a scripted outside and words for what tests do with them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from gateway.core.crypto.cipher import Secret
from gateway.core.model import Limits, NewJob, Tenant
from gateway.flows.accept.acceptor import Acceptor, Order
from gateway.flows.admin.tenants import create_tenant, put_credential
from gateway.flows.deliver.deliverer import Deliverer
from gateway.flows.deliver.endpoints import EndpointSpec, create_endpoint
from gateway.flows.deps import Deps
from gateway.flows.poll.poller import Poller
from gateway.flows.process.slots import Slots
from gateway.flows.submit.reconcile import Reconciler
from gateway.flows.submit.submitter import Submitter
from gateway.ports import Verb
from gateway.store.database import AnyRow
from tests.fakes import FakeObserver, FakeQueue
from tests.flows.fakes import Gate, ScriptedSender, ScriptedUpstream, StepClock

HOOK = "https://hooks.example.com/gateway"
CALLBACK = "https://callbacks.example.com/done"

_INSTANTS = {
    "job": (
        "created_at deadline_at next_at sent_at sent_until submitted_at started_at completed_at"
        " deleted_at upstream_delete_at"
    ),
    "credential": "rejected_at paused_until poll_at poll_lease_until",
    "delivery": "created_at next_at completed_at resent_at",
    "endpoint": "disabled_at paused_until failing_since tokens_at",
    "bulk": "created_at next_at completed_at",
    "signing_secret": "expires_at",
    "access_key": "expires_at revoked_at last_used_at",
}
_VERBS: tuple[Verb, ...] = ("submit", "poll", "deliver")


@dataclass
class World:
    """One gateway process, its database, and what lies outside."""

    deps: Deps
    upstream: ScriptedUpstream
    sender: ScriptedSender
    queue: FakeQueue
    observer: FakeObserver
    clock: StepClock
    failures: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.acceptor = Acceptor(self.deps)
        self.reconciler = Reconciler(self.deps)
        self.submitter = Submitter(self.deps)
        self.poller = Poller(self.deps)
        self.deliverer = Deliverer(self.deps)

    def other_process(self, **changes: Any) -> "World":
        """The same world as another process sees it."""
        deps = replace(self.deps, **{"policy": self.deps.policy, **changes})
        return replace(self, deps=deps)

    # --- set up ----------------------------------------------------------------------------------

    async def tenant(
        self,
        slug: str = "acme",
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        metadata: str = "{}",
        credential: bool = True,
        hook: str | None = None,
        events: Sequence[str] = (),
    ) -> Tenant:
        """A tenant, with a credential and, where named, an endpoint."""
        tenant = await create_tenant(
            self.deps, "test", slug=slug, name=slug.title(), metadata=metadata, limits=limits
        )
        if credential:
            await self.credential(slug, f"key-of-{slug}")
        if hook:
            await self.endpoint(tenant, hook, events=events)
        return tenant

    async def credential(self, slug: str, key: str) -> None:
        await put_credential(self.deps, "test", slug, api_key=Secret(key), base_url=None)

    async def endpoint(
        self, tenant: Tenant, url: str, *, events: Sequence[str] = (), **wanted: Any
    ) -> UUID:
        made, _ = await create_endpoint(
            self.deps, tenant.id, EndpointSpec(url, events=events, **wanted)
        )
        return made.id

    def order(self, tenant: Tenant, max_queued: int = 100_000, **fields: Any) -> Order:
        given: dict[str, Any] = {
            "name": "song",
            "workflow": "stems",
            "params": '{"inputUrl":"https://media.example.com/a.wav"}',
            "metadata": "{}",
        }
        return Order(NewJob(self.deps.ids.uuid(), tenant.id, **(given | fields)), max_queued)

    async def accept(self, tenant: Tenant, count: int = 1, **fields: Any) -> list[UUID]:
        orders = [self.order(tenant, **fields) for _ in range(count)]
        return [a.id for a in await asyncio.gather(*map(self.acceptor.accept, orders))]

    async def accept_one(self, tenant: Tenant, **fields: Any) -> UUID:
        return (await self.accept(tenant, **fields))[0]

    async def at_upstream(self, tenant: Tenant, count: int = 1, **fields: Any) -> list[UUID]:
        """Jobs that the upstream took, due to be polled."""
        ids = await self.accept(tenant, count, **fields)
        while await self.submit():
            pass
        await self.run("UPDATE credential SET poll_at = now() WHERE poll_at IS NOT NULL")
        return ids

    async def ended(self, tenant: Tenant, count: int = 1, **fields: Any) -> list[UUID]:
        """Jobs that succeeded."""
        ids = await self.at_upstream(tenant, count, **fields)
        self.upstream.move("SUCCEEDED")
        await self.poll()
        await self.run("UPDATE credential SET poll_at = NULL")
        return ids

    # --- work ------------------------------------------------------------------------------------

    async def submit(self, room: int = 100) -> int:
        claimed = await self.submitter.claim(room)
        await self.idle()
        return claimed

    async def look_up(self) -> int:
        claimed = await self.reconciler.claim()
        await self.idle()
        return claimed

    async def look_up_beside(self) -> int:
        """Look jobs up in another process, while work hangs in this one."""
        return await self.other_process(slots=Slots(self.clock)).look_up()

    async def poll(self) -> int:
        claimed = await self.poller.claim(50)
        await self.idle()
        return claimed

    async def poll_soon(self) -> int:
        """Poll all credentials that have jobs upstream and do not rest."""
        await self.run("UPDATE credential SET poll_at = now() WHERE poll_at IS NOT NULL")
        return await self.poll()

    async def poll_again(self, seconds: float = 0.0) -> None:
        """Poll all credentials that have jobs upstream, after so many seconds."""
        await self.pass_time(seconds)
        assert await self.poll_soon()

    async def deliver(self, room: int = 100) -> int:
        claimed = await self.deliverer.claim(room)
        await self.idle()
        return claimed

    async def deliver_all(self) -> int:
        """Send what is due until nothing is; how many were sent."""
        sent = 0
        while claimed := await self.deliver():
            sent += claimed
        return sent

    async def submit_beside(self, room: int, held: Gate) -> int:
        """Claim, and go on once a submit hangs in that gate."""
        claimed = await self.submitter.claim(room)
        await held.came.wait()
        return claimed

    async def submit_and_die(self, held: Gate) -> int:
        """Claim, and end without a word as soon as a submit hangs in that gate."""
        claimed = await self.submitter.claim(100)
        await held.came.wait()
        await self.deps.slots.drain(0)
        return claimed

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while any(self.deps.slots.used(verb) for verb in _VERBS):
            await self.deps.slots.wait_for_slot(0.5)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the database, the upstream and the monotonic clock.

        Everything becomes older: the database's own clock cannot be set.
        """
        for table, columns in _INSTANTS.items():
            sets = ", ".join(f"{c} = {c} - $1 * interval '1 second'" for c in columns.split())
            await self.run(f"UPDATE {table} SET {sets}", seconds)
        self.upstream.shift(seconds)
        self.clock.advance(seconds)

    # --- look ------------------------------------------------------------------------------------

    async def rows(self, sql: str, *arguments: object) -> Sequence[AnyRow]:
        async with self.deps.db.single() as tx:
            return await tx.rows(sql, *arguments)

    async def row(self, sql: str, *arguments: object) -> AnyRow:
        rows = await self.rows(sql, *arguments)
        assert len(rows) == 1
        return rows[0]

    async def value(self, sql: str, *arguments: object) -> Any:
        return (await self.row(sql, *arguments))[0]

    async def run(self, sql: str, *arguments: object) -> int:
        async with self.deps.db.single() as tx:
            return await tx.run(sql, *arguments)

    async def job(self, job_id: UUID) -> AnyRow:
        return await self.row(
            "SELECT *, EXTRACT(epoch FROM next_at - now())::float8 AS due_in FROM job WHERE id = $1",
            job_id,
        )

    async def states(self) -> dict[str, int]:
        rows = await self.rows("SELECT state, count(*) FROM job GROUP BY state")
        return {row[0]: row[1] for row in rows}

    async def notes(self, job_id: UUID) -> list[str]:
        rows = await self.rows("SELECT type FROM job_event WHERE job_id = $1 ORDER BY id", job_id)
        return [row[0] for row in rows]

    async def events(self, job_id: UUID | None = None) -> list[AnyRow]:
        sql = "SELECT * FROM event WHERE $1::uuid IS NULL OR job_id = $1 ORDER BY created_at, id"
        return list(await self.rows(sql, job_id))

    async def event_types(self, job_id: UUID | None = None) -> list[str]:
        return [event.type for event in await self.events(job_id)]

    async def deliveries(self) -> list[AnyRow]:
        return list(
            await self.rows(
                "SELECT d.*, e.type, EXTRACT(epoch FROM d.next_at - now())::float8 AS due_in"
                " FROM delivery d JOIN event e ON e.id = d.event_id ORDER BY d.id"
            )
        )

    async def health(self, slug: str = "acme") -> AnyRow:
        """The newest credential of a tenant; `rest` in seconds, 0 when it is not paused."""
        rows = await self.rows(
            "SELECT c.*, COALESCE(GREATEST(EXTRACT(epoch FROM c.paused_until - now()), 0), 0)::float8"
            " AS rest, EXTRACT(epoch FROM c.poll_at - now())::float8 AS poll_in"
            " FROM credential c JOIN tenant t ON t.id = c.tenant_id WHERE t.slug = $1"
            " ORDER BY c.version DESC",
            slug,
        )
        return rows[0]

    def seen(self, work: str) -> list[tuple[str, dict[str, object]]]:
        return [(outcome, fields) for name, outcome, fields in self.observer.seen if name == work]


def async_url(url: str) -> str:
    return url if "+asyncpg" in url else url.replace("postgresql://", "postgresql+asyncpg://")
