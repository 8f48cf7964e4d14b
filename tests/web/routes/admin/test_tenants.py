"""/admin/v1/tenant: search, what a tenant uses of its limits, why it was suspended."""

import pytest

from gateway.store.tenancy import tenants
from gateway.store.work import circuit_breaker
from tests.web.conftest import World, next_page, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _tenant(world: World, name: str, **limits: int) -> str:
    slug = f"t-{world.deps.ids.random_bytes(6).hex()}"
    given = {"slug": slug, "name": name, "limits": limits}
    await world.send("POST", "/admin/v1/tenant", world.operator, given)
    return slug


async def test_tenants_are_found_by_a_part_of_their_name_or_slug(world: World) -> None:
    slug = await _tenant(world, "Müller & Söhne 100%_x")

    for text in ("m%C3%BCller", "100%25_X", slug[2:9].upper()):
        found = await world.get(f"/admin/v1/tenant?text={text}", world.operator)
        assert [one["slug"] for one in found] == [slug], text


async def test_the_next_page_has_the_same_text(world: World) -> None:
    slugs = sorted([await _tenant(world, "twins & co") for _ in range(2)])

    first = await world.call("GET", "/admin/v1/tenant?size=1&text=TWINS%20%26", world.operator)
    second = await world.call("GET", next_page(first), world.operator)

    assert [one["slug"] for one in (*first.json(), *second.json())] == slugs
    assert "Link" not in second.headers


async def test_a_tenant_uses_its_limits(world: World, acme: str) -> None:
    await world.job(acme)
    await world.send(
        "PATCH", f"/admin/v1/tenant/{acme}", world.operator, {"limits": {"maxRate": 9}}
    )

    used = await world.get(f"/admin/v1/tenant/{acme}/load", world.operator)

    assert used["waiting"] == {"used": 1, "max": world.deps.policy.max_queued}
    assert used["inFlight"] == {"used": 0, "max": world.deps.policy.max_in_flight}
    assert used["endpoints"]["max"] == world.deps.policy.max_endpoints
    assert used["maxRate"] == 9


async def test_own_limits_are_in_force(world: World) -> None:
    slug = await _tenant(world, "small", maxQueued=3, maxInFlight=2, maxEndpoints=1)

    used = await world.get(f"/admin/v1/tenant/{slug}/load", world.operator)

    assert [used[name]["max"] for name in ("waiting", "inFlight", "endpoints")] == [3, 2, 1]
    assert used["credential"] == "none"
    assert used["maxRate"] == (world.deps.policy.max_rate or None)


async def test_the_load_of_no_tenant(world: World) -> None:
    answer = await world.call("GET", "/admin/v1/tenant/nobody/load", world.operator)
    problem(answer, 404, "NOT_FOUND")


async def test_the_reason_of_a_suspension_is_in_the_audit_log(world: World) -> None:
    slug = await _tenant(world, "late")
    path = f"/admin/v1/tenant/{slug}"

    await world.send("POST", f"{path}/suspend", world.operator, {"reason": "invoice 7 is open"})
    await world.send("POST", f"{path}/resume", world.operator)

    acts = await world.get(f"/admin/v1/audit?tenant={slug}", world.operator)
    assert [(act["action"], act["detail"]) for act in acts[:2]] == [
        ("tenant.resumed", {}),
        ("tenant.suspended", {"reason": "invoice 7 is open"}),
    ]
    long = await world.call("POST", f"{path}/suspend", world.operator, json={"reason": "x" * 501})
    problem(long, 400, "BAD_REQUEST")


async def test_a_tenant_whose_credential_is_refused_holds_its_jobs_back(
    world: World, acme: str
) -> None:
    await world.job(acme)
    idle = await _tenant(world, "idle")
    async with world.deps.db.begin() as tx:
        owner = await tenants.by_slug(tx, acme)
        assert owner is not None
        credential = await tenants.credential(tx, owner.id)
        assert credential is not None
        await circuit_breaker.reject(tx, credential.id, "HTTP 401", 60.0)

    held = await world.get("/admin/v1/queue/credential?size=1000", world.operator)

    mine = {one["tenant"]: one for one in held}
    assert idle not in mine, "nothing of it waits"
    assert (mine[acme]["version"], mine[acme]["rejectedReason"]) == (1, "HTTP 401")
    assert (mine[acme]["waiting"], mine[acme]["inFlight"]) == (1, 0)
    assert mine[acme]["pausedUntil"] > mine[acme]["rejectedAt"]
    used = await world.get(f"/admin/v1/tenant/{acme}/load", world.operator)
    assert used["credential"] == "refused"
    await world.send("POST", f"/admin/v1/tenant/{acme}/suspend", world.operator)
    again = await world.get("/admin/v1/queue/credential?size=1000", world.operator)
    assert acme not in {one["tenant"] for one in again}
