"""What can be done on the stage, with all that is known of it, and the check of what must hold."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.crypto.cipher import Secret
from gateway.core.model import Limits, NewJob
from gateway.errors import GatewayError, Unavailable
from gateway.flows.accept.acceptor import Order
from gateway.flows.accept.idempotency import Accepted
from gateway.flows.admin.tenants import create_tenant, put_credential, suspend_tenant
from gateway.flows.deliver.endpoints import EndpointSpec, create_endpoint, delete_endpoint
from gateway.flows.deliver.signing_secrets import default_secret
from gateway.flows.upstream.delete_job import delete_job
from tests.model.answers import Site, TrueJob
from tests.model.books import Asked, Books, Snapshot, Tenancy
from tests.model.crew import Task
from tests.model.process import ALL, WAKES, Cut, Process, Round
from tests.model.promises import breaches, unfinished
from tests.model.receivers import Receiver
from tests.model.scene import Scene
from tests.model.stage import Stage

SLUGS = ("acme", "bolt")
_ROOMS = (None, 3)  # how many jobs of each may be upstream
_SECRET = "whsec_" + "c2VjcmV0" * 4
# Enough for the longest wait that trouble leaves behind, as each round is longer than the last.
_ROUNDS = 80
# Leases end, what is in doubt is looked up twice, submitted, and polled.
_TAKE_OVER = (31.0, 2.1, 2.1, 5.0)
_FIRST_ROUND, _GROWTH = 0.25, 1.15
_SWEEP_EVERY = 4
_NEXT_DUE = """
SELECT EXTRACT(epoch FROM min(at) - now())::float8 AS seconds FROM (
  SELECT next_at AS at FROM job WHERE completed_at IS NULL
  UNION ALL SELECT upstream_delete_at FROM job
  UNION ALL SELECT next_at FROM delivery WHERE state = 'pending'
  UNION ALL SELECT unnest(ARRAY[poll_at, poll_lease_until, paused_until]) FROM credential
  UNION ALL SELECT paused_until FROM endpoint) AS due WHERE at > now()"""

Work = Callable[[Process], Coroutine[Any, Any, Any]]


@dataclass
class By:
    """Which process does something, and what befalls it meanwhile."""

    number: int = 0
    cut: Cut | None = None


@dataclass
class Batch:
    """Jobs that are asked for at once; with a key, each has one of its own."""

    count: int = 2
    key: str | None = None
    callback: bool = True
    deadline: float = 86_400.0
    cap: int = 1000


class Play:
    """One history."""

    def __init__(self, stage: Stage, sites: Iterable[Site]) -> None:
        self.stage = stage
        self.books = Books()
        self.before = self.rows = Snapshot(stage.rows)
        self.sites = {site.slug: site for site in sites}
        for slug, room in zip(SLUGS, _ROOMS, strict=True):
            self._found(slug, room)

    def _found(self, slug: str, room: int | None) -> None:
        async def found(process: Process) -> None:
            limits = Limits(max_in_flight=room)
            given = {"slug": slug, "name": slug, "metadata": "{}", "limits": limits}
            tenant = await create_tenant(process.deps, "test", **given)
            self.books.tenants.append(Tenancy(slug, tenant.id))
            secret = await default_secret(process.deps, tenant.id)
            self.stage.receivers.at[_callback(slug)] = Receiver(slug, [secret])

        self._do(By(), found)
        tenancy = self.books.tenants[-1]
        self.put_key(By(), tenancy, is_new=True)
        self.add_hook(By(), tenancy, [])
        self.accept(By(), tenancy, Batch())

    # --- tenants ---------------------------------------------------------------------------------

    def accept(self, by: By, tenancy: Tenancy, batch: Batch) -> None:
        slug = tenancy.slug
        jobs = [
            NewJob(
                self.stage.ids.uuid(),
                tenancy.id,
                "song",
                "stems" if batch.callback else "master",
                "{}",
                f'{{"tenant":"{slug}"}}',
                callback_url=_callback(slug) if batch.callback else None,
                deadline_seconds=batch.deadline,
                idempotency_key=batch.key and f"{batch.key}{number}",
                request_hash=f"{batch.callback}".encode() if batch.key else None,
            )
            for number in range(batch.count)
        ]
        self.books.asked |= {job.id: Asked(slug, job.idempotency_key) for job in jobs}
        answers: list[Any] = []

        async def ask(process: Process) -> None:
            asked = (process.acceptor.accept(Order(job, batch.cap)) for job in jobs)
            answers.extend(await asyncio.gather(*asked, return_exceptions=True))

        self._do(by, ask)
        for job, answer in zip(jobs, answers, strict=False):  # none from who died
            self._note(job, answer)

    def _note(self, job: NewJob, answer: object) -> None:
        """Write down what was promised; what is refused, or was promised before, must not be."""
        asked = self.books.asked
        match answer:
            case Accepted(replayed=False):
                assert answer.id == job.id
                asked[job.id].is_promised = True
            case Accepted():
                earlier = asked[answer.id]
                assert (earlier.slug, earlier.key) == (asked[job.id].slug, job.idempotency_key)
                earlier.is_promised = True
                del asked[job.id]
            case GatewayError() if not isinstance(answer, Unavailable):
                del asked[job.id]

    def delete(self, by: By, pick: int) -> None:
        there = [id_ for id_, asked in self.books.asked.items() if asked.is_promised]
        id_ = there[pick % len(there)]
        asked, tenant_id = self.books.asked[id_], self.rows.jobs[id_]["tenant_id"]
        asked.may_be_deleted = True
        task = self._do(by, lambda process: delete_job(process.deps, tenant_id, id_))
        asked.was_deleted |= _is_well(task)

    def put_key(self, by: By, tenancy: Tenancy, *, is_new: bool) -> None:
        if is_new:
            tenancy.keys.append(f"{tenancy.slug}-{len(tenancy.keys)}")
        key, slug = tenancy.keys[-1], tenancy.slug
        self.stage.upstream.sites[key] = self.sites[slug]
        given = {"api_key": Secret(key), "base_url": None}
        self._do(by, lambda process: put_credential(process.deps, "test", slug, **given))

    def suspend(self, by: By, tenancy: Tenancy, *, is_suspended: bool) -> None:
        slug = tenancy.slug
        self._do(by, lambda p: suspend_tenant(p.deps, "test", slug, suspended=is_suspended))

    def add_hook(self, by: By, tenancy: Tenancy, events: Sequence[str]) -> None:
        receivers = self.stage.receivers.at
        url = f"https://{tenancy.slug}.example.com/{len(receivers)}"
        receivers[url] = Receiver(tenancy.slug, [_SECRET])
        wanted = EndpointSpec(url, events=events)
        self._do(by, lambda p: create_endpoint(p.deps, tenancy.id, wanted, secret=_SECRET))

    def delete_hook(self, by: By, pick: int) -> None:
        there = [row for row in self.rows.rows["endpoint"] if row["deleted_at"] is None]
        if there:
            one = there[pick % len(there)]
            self._do(by, lambda p: delete_endpoint(p.deps, one["tenant_id"], one["id"]))

    # --- work ------------------------------------------------------------------------------------

    def work(self, rounds: Iterable[Round]) -> None:
        """Go on for some rounds, and see after each that all is well."""
        for one in rounds:
            if one.status is not None:
                self.move(self.stage.upstream.jobs.values(), one.status)
            self.stage.pass_time(one.seconds)
            self.stage.processes[one.number].holds |= one.holds
            self._do(By(one.number, one.cut), lambda process, one=one: process.work(one.works))
            self.check()

    def stand_still(
        self, number: int, calls: frozenset[str], status: str | None, then: Iterable[Round]
    ) -> None:
        """Have a process go on late with what others have dealt with meanwhile."""
        self.books.was_disturbed = True
        self.work([Round(0.0, number, holds=calls), Round(1.0, number, status=status)])
        self.work([Round(seconds, 1 - number) for seconds in _TAKE_OVER])
        self.work(then)
        self.stage.release(number)
        self.check()

    def move(self, jobs: Iterable[TrueJob], status: str) -> None:
        for job in jobs:
            self.stage.upstream.move(job, status)

    def heal(self) -> None:
        """Do away with all trouble, and go on until nothing is left to do."""
        for number in range(2):
            self.stage.release(number)  # before lists change their ways
        for site in self.sites.values():
            site.heal()
            site.pages = "plain"
        for receiver in self.stage.receivers.at.values():
            receiver.hows = ("ok",)
        self.stage.upstream.revoked.clear()
        for tenancy in self.books.tenants:
            self.suspend(By(), tenancy, is_suspended=False)
        seconds = _FIRST_ROUND
        for number in range(_ROUNDS):
            (due,) = self.stage.rows(_NEXT_DUE)
            works = ALL if number % _SWEEP_EVERY == 0 else WAKES
            wait = max(due["seconds"] or 0.0, seconds)
            self.work([Round(wait, 0, works, status="SUCCEEDED")])
            seconds *= _GROWTH
            if not unfinished(self._scene()):
                return

    # --- what must hold --------------------------------------------------------------------------

    def check(self) -> None:
        """Compare the rows as they are with those before, and with all that is known."""
        self.before, self.rows = self.rows, Snapshot(self.stage.rows)
        self._judge(breaches(self._scene()))

    def check_end(self) -> None:
        self._judge(unfinished(self._scene()))

    def _judge(self, found: Sequence[str]) -> None:
        found = [*found, *map(repr, self.stage.crew.surprises)]
        assert not found, "\n".join(found)

    def _scene(self) -> Scene:
        stage = self.stage
        return Scene(
            stage.time.now(), self.books, self.before, self.rows, stage.upstream, stage.receivers
        )

    def _do(self, by: By, work: Work) -> Task:
        self.books.was_disturbed |= by.cut is not None
        return self.stage.run(by.number, work(self.stage.processes[by.number]), by.cut)


def _callback(slug: str) -> str:
    return f"https://{slug}.example.com/callback"


def _is_well(task: Task) -> bool:
    """Whether some work came to its end and said so."""
    return task.done() and not task.cancelled() and task.exception() is None
