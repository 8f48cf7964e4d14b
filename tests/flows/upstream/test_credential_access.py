"""Access: what a revoked credential left upstream is asked about with the one that came after it."""

import json
from uuid import UUID

from gateway.core.crypto.cipher import Cipher
from gateway.core.model import Tenant
from gateway.errors import Unavailable
from gateway.flows.admin.tenants import delete_tenant
from gateway.flows.upstream.credential_access import choose_credential
from gateway.ports import Absent, Access, Denied, UpstreamProblem
from gateway.store.tenancy import tenants
from tests.flows.fakes import Held
from tests.flows.scenes import in_doubt
from tests.flows.world import HOOK, World

DENIED = Denied(401, UpstreamProblem("UNAUTHORIZED", "Unauthorized", "Invalid API key."))


def keys_of(world: World, call: str) -> list[str]:
    """With which keys the upstream was asked so."""
    asked = [what for name, what in world.upstream.asked if name == call]
    accesses = [what[0] for what in asked if isinstance(what[0], Access)]
    return [access.key.value for access in accesses]


async def revoke(world: World) -> None:
    """The upstream honours the credential no more, and that was noticed."""
    await world.run(
        "UPDATE credential SET rejected_at = now(), rejected_reason = 'HTTP 401',"
        " paused_until = now() + interval '5 minutes'"
    )


async def ended_with(world: World, job_id: UUID) -> tuple[str, str, str]:
    job = await world.job(job_id)
    error = json.loads(job.error)
    return job.state, error["code"], error["title"]


OUT_OF_REACH = ("failed", "UPSTREAM_LOST", "Out of reach upstream")


# --- Poll ------------------------------------------------------------------------------------------


async def revoked(world: World, jobs: int) -> tuple[Tenant, list[UUID]]:
    """Jobs upstream whose credential was revoked, and replaced by another since."""
    tenant = await world.tenant(hook=HOOK)
    ids = await world.at_upstream(tenant, jobs)
    world.upstream.will("status", DENIED)
    await world.poll()
    await world.credential("acme", "new-key")
    world.upstream.asked.clear()
    await world.pass_time(1)
    return tenant, ids


async def test_a_round_that_loses_the_database_does_not_honour_the_revoked_credential_again(
    world: World,
):
    """The answers came from the substitute: they say nothing of the credential in its place."""
    await revoked(world, 1)

    def lose_the_database(point: str) -> None:
        if point == "poll.answered":
            raise Unavailable("away", retry_after=1)

    assert await world.other_process(crash_point=lose_the_database).poll_soon() == 1
    assert keys_of(world, "status") == ["new-key"]
    assert await world.value("SELECT rejected_at IS NOT NULL FROM credential WHERE version = 1")


async def test_jobs_of_a_revoked_credential_are_polled_with_the_new_one(world: World):
    _, ids = await revoked(world, 1)
    world.upstream.move("SUCCEEDED")
    assert await world.poll_soon() == 1
    assert set(keys_of(world, "status")) == {"new-key"}
    assert (await world.job(ids[0])).state == "succeeded"
    old = await world.row("SELECT * FROM credential WHERE version = 1")
    assert old.rejected_at is not None, "it is not honoured for all that"
    assert old.paused_until is None
    new = await world.health()
    assert (new.version, new.rejected_at, new.failures) == (2, None, 0)


async def test_they_are_asked_about_together(world: World):
    """The credential that is asked with is well, so this is no probe."""
    await revoked(world, 3)
    world.upstream.move("SUCCEEDED")
    assert await world.poll_soon() == 1
    assert await world.states() == {"succeeded": 3}


async def test_what_the_new_one_does_not_show_is_out_of_reach(world: World):
    _, (job_id,) = await revoked(world, 1)
    world.upstream.always["status"] = Absent()
    for seen in (1, 2, 3):
        await world.pass_time(61)
        assert await world.poll_soon() == 1
        assert (await world.job(job_id)).absences == seen
    await world.pass_time(61)
    await world.poll_soon()
    assert await ended_with(world, job_id) == OUT_OF_REACH
    assert "job.failed" in await world.event_types(job_id)


async def test_a_revocation_of_what_was_replaced_already_is_no_news(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.at_upstream(tenant)
    await world.credential("acme", "new-key")
    world.upstream.will("status", DENIED)
    await world.poll_soon()
    old = await world.row("SELECT * FROM credential WHERE version = 1")
    assert (old.rejected_reason, old.paused_until) == ("HTTP 401: Invalid API key.", None)
    assert await world.event_types() == []
    world.upstream.move("SUCCEEDED")
    await world.poll_again(1)
    assert keys_of(world, "status")[-1] == "new-key"
    assert await world.states() == {"succeeded": 1}


async def test_a_new_one_that_is_not_honoured_either_is_reported_itself(world: World):
    tenant, ids = await revoked(world, 1)
    world.upstream.always["status"] = DENIED
    await world.poll_soon()
    assert (await world.health()).rejected_at is not None
    assert await world.event_types() == ["credential.rejected"] * 2
    assert (await world.job(ids[0])).state == "submitted"
    assert await world.value("SELECT count(*) FROM job WHERE tenant_id = $1", tenant.id) == 1


async def test_a_new_one_that_cannot_be_opened_asks_nothing(world: World):
    await revoked(world, 1)
    elsewhere = world.other_process(cipher=Cipher([b"x" * 32]))
    await elsewhere.run("UPDATE credential SET poll_at = now() WHERE poll_at IS NOT NULL")
    assert await elsewhere.poll() == 1
    assert keys_of(world, "status") == []
    health = await world.health()
    assert (health.rejected_at, await world.event_types()) == (None, ["credential.rejected"])


# --- Doubt -----------------------------------------------------------------------------------------


async def test_a_doubtful_job_is_looked_up_with_the_new_one_and_adopted(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    await revoke(world)
    assert await world.look_up() == 0
    await world.credential("acme", "new-key")
    assert await world.look_up() == 1
    assert keys_of(world, "page") == ["new-key"]
    job = await world.job(job_id)
    assert job.state == "submitted"
    old = await world.row("SELECT * FROM credential WHERE version = 1")
    assert (job.credential_id, old.rejected_at is not None) == (old.id, True)


async def test_a_doubtful_job_that_the_new_one_does_not_show_is_never_submitted_again(
    world: World,
):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    await revoke(world)
    await world.credential("acme", "new-key")
    world.upstream.always["page"] = []
    sent = world.upstream.count("submit")
    for _ in range(2):
        assert await world.look_up() == 1
        await world.pass_time(30)
    assert await ended_with(world, job_id) == OUT_OF_REACH
    assert world.upstream.count("submit") == sent


async def test_a_job_that_waits_goes_out_with_the_new_one(world: World):
    tenant = await world.tenant()
    await world.accept(tenant)
    world.upstream.will("submit", DENIED)
    await world.submit()
    await world.credential("acme", "new-key")
    assert await world.submit() == 1
    assert world.upstream.sent[-1][0].key.value == "new-key"


# --- Which one -------------------------------------------------------------------------------------


GIVE_UP = "UPDATE credential SET sealed = '' WHERE version = 1"


async def test_jobs_of_a_credential_that_was_given_up_end_with_the_new_one(world: World):
    await world.at_upstream(await world.tenant())
    await world.run(GIVE_UP)
    await world.poll()
    assert world.upstream.count("status") == 0
    await world.credential("acme", "new-key")
    await world.pass_time(60)
    await world.poll()
    assert keys_of(world, "status") == ["new-key"]


async def test_a_doubtful_job_of_a_credential_that_was_given_up_is_found_with_the_new_one(
    world: World,
):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    await world.run(GIVE_UP)
    await world.credential("acme", "new-key")
    assert await world.look_up() == 1
    assert keys_of(world, "page") == ["new-key"]
    assert (await world.job(job_id)).state == "submitted"


async def test_only_a_useless_credential_borrows_and_only_from_a_later_one(world: World):
    await world.tenant()
    await world.credential("acme", "second")

    async def asked(version: int) -> tuple[str, bool]:
        async with world.deps.db.single() as tx:
            row = await world.row("SELECT id FROM credential WHERE version = $1", version)
            stored = await tenants.credential_by_id(tx, row.id)
            assert stored is not None
            asking = await choose_credential(tx, world.deps, stored)
        assert isinstance(asking.access, Access)
        return asking.access.key.value, asking.is_substitute

    assert [await asked(1), await asked(2)] == [("key-of-acme", False), ("second", False)]
    await revoke(world)
    assert [await asked(1), await asked(2)] == [("second", True), ("second", False)]
    await world.run("UPDATE credential SET rejected_at = NULL, rejected_reason = NULL")
    await world.run(GIVE_UP)
    assert [await asked(1), await asked(2)] == [("second", True), ("second", False)]


async def test_a_tenant_that_is_erased_during_a_poll_is_nobodys_error(world: World):
    await world.at_upstream(await world.tenant())
    await revoke(world)
    await world.run("UPDATE credential SET paused_until = NULL")
    slots = Held(world.clock)
    elsewhere = world.other_process(slots=slots)
    assert await elsewhere.poller.claim(10) == 1
    await delete_tenant(world.deps, "test", "acme")
    slots.let_go("poll")
    await elsewhere.idle()
    assert world.upstream.count("status") == 0
