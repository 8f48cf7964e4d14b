"""Tenants, usage, activity, account, queues and system without a browser: wrong input, roles, many rows."""

from uuid import uuid4

import httpx
import pytest

from tests.console.conftest import signed_in
from tests.web.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

READS = ("tenants", "tenants/SLUG", "usage", "activity", "account", "queues", "system")
WRITES = (
    *("limits", "suspend", "resume", "credential", "erase", "keys"),
    *("keys/0000000000000000/rotate", "keys/0000000000000000/revoke"),
)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("tenants?cursor=" + "x" * 64, "cursor"),
        ("tenants?text=" + "x" * 201, "text"),
        ("tenants?text=a%00b", "text"),
        ("tenants?size=5", "size"),
        ("usage?month=2026-13", "month"),
        ("usage?month=9999-12", "month"),
        ("usage?status=STARTED", "status"),
        ("usage.csv?by=hour", "by"),
        ("activity?cursor=nonsense", "cursor"),
        ("activity?span=year", "span"),
        ("activity?createdAfter=yesterday", "createdAfter"),
        ("account?cursor=nonsense", "cursor"),
    ],
)
async def test_a_wrong_filter_is_named(
    world: World, client: httpx.AsyncClient, path: str, field: str
) -> None:
    await signed_in(world, client)
    answer = await client.get(f"/console/{path}")
    assert answer.status_code == 400, answer.text
    assert field in answer.text


# Operators see the settings of the process as well, which this one does not have: tests/browser looks.
@pytest.mark.parametrize("role", ["viewer", "support"])
@pytest.mark.parametrize("path", READS)
async def test_every_role_reads(
    world: World, client: httpx.AsyncClient, path: str, role: str
) -> None:
    slug = await world.tenant("acme")
    await signed_in(world, client, role)
    answer = await client.get(f"/console/{path.replace('SLUG', slug)}")
    assert answer.status_code == 200, answer.text
    assert "GATEWAY_MASTER_KEY" not in answer.text


@pytest.mark.parametrize("path", READS)
async def test_nobody_reads_without_signing_in(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/console/{path}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in?next=")


@pytest.mark.parametrize("act", WRITES)
async def test_a_write_needs_an_operator_and_the_token(
    world: World, client: httpx.AsyncClient, act: str
) -> None:
    slug = await world.tenant("acme")
    before = await world.get(f"/admin/v1/tenant/{slug}", world.operator)
    form = {"maxQueued": "1", "name": "x", "apiKey": "sim-acme", "confirm": slug}
    for role in ("viewer", "support"):
        somebody = await signed_in(world, client, role)
        answer = await somebody.post(f"/console/tenants/{slug}/{act}", form)
        assert answer.status_code == 403, role
    await signed_in(world, client, "operator")
    answer = await client.post(f"/console/tenants/{slug}/{act}", data=form)
    assert answer.status_code == 403
    assert await world.get(f"/admin/v1/tenant/{slug}", world.operator) == before


async def test_hundreds_of_tenants_are_paged_and_found(
    world: World, client: httpx.AsyncClient
) -> None:
    mark = uuid4().hex[:6]
    for n in range(130):
        given = {"slug": f"{mark}-{n:03}", "name": f"Many {mark} {n}"}
        await world.send("POST", "/admin/v1/tenant", world.operator, given)
    await signed_in(world, client, "viewer")
    seen: list[str] = []
    path = f"/console/tenants?text=MANY+{mark}"
    while path:
        page = (await client.get(path)).text
        seen += [f"{mark}-{n:03}" for n in range(130) if f"/console/tenants/{mark}-{n:03}" in page]
        more = [line for line in page.splitlines() if ">More<" in line]
        path = (
            more[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&") if more else ""
        )
    assert seen == [f"{mark}-{n:03}" for n in range(130)]


async def test_limits_are_changed_only_where_the_form_differs(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    path = f"/admin/v1/tenant/{slug}"
    await world.send("PATCH", path, world.operator, {"limits": {"maxQueued": 9, "maxRate": 8}})
    operator = await signed_in(world, client)
    form = {
        "maxQueued": "",
        "shown.maxQueued": "9",  # back to the default
        "maxRate": "5",
        "shown.maxRate": "5",  # somebody else changed it meanwhile
        "keepEventsDays": " 0 ",
        "shown.keepEventsDays": "",
    }
    answer = await operator.post(f"/console/tenants/{slug}/limits", form)
    assert answer.status_code == 303, answer.text
    limits = (await world.get(path, world.operator))["limits"]
    assert (limits["maxQueued"], limits["maxRate"], limits["keepEventsDays"]) == (None, 8, 0)


async def test_wrong_forms_name_the_field_and_change_nothing(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    operator = await signed_in(world, client)
    for act, form, field in (
        ("limits", {"maxQueued": "0"}, "maxQueued"),
        ("limits", {"keepJobsDays": "1.5"}, "keepJobsDays"),
        ("limits", {"maxRate": "9" * 30}, "maxRate"),
        ("suspend", {"reason": "x" * 501}, "reason"),
        ("credential", {"apiKey": ""}, "apiKey"),
        ("credential", {"apiKey": "has space"}, "apiKey"),
        ("credential", {"apiKey": "x", "baseUrl": "javascript:alert(1)"}, "baseUrl"),
        ("keys", {"name": ""}, "name"),
        ("keys", {"name": "x", "days": "0"}, "days"),
        ("erase", {"confirm": f"{slug}x"}, "confirm"),
    ):
        answer = await operator.post(f"/console/tenants/{slug}/{act}", form)
        assert answer.status_code == 400, (act, form, answer.text)
        assert field in answer.text
    found = await world.get(f"/admin/v1/tenant/{slug}", world.operator)
    assert set(found["limits"].values()) == {None}
    assert found["suspendedAt"] is None


@pytest.mark.parametrize("act", [*WRITES, "export"])
async def test_a_tenant_that_does_not_exist(
    world: World, client: httpx.AsyncClient, act: str
) -> None:
    operator = await signed_in(world, client)
    path = f"/console/tenants/nobody/{act}"
    form = {"name": "x", "apiKey": "sim-acme", "confirm": "nobody"}
    answer = await (operator.get(path) if act == "export" else operator.post(path, form))
    assert answer.status_code == 404, answer.text


async def test_what_is_done_here_is_audited_by_the_name_of_the_key(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    operator = await signed_in(world, client)
    await operator.post(f"/console/tenants/{slug}/suspend", {"reason": "<b>late</b>"})
    await operator.post(f"/console/tenants/{slug}/resume")
    page = (await client.get(f"/console/activity?tenant={slug}&action=tenant.suspended")).text
    assert "suspended the tenant" in page
    assert "&lt;b&gt;late&lt;/b&gt;" in page
    acts = await world.get(f"/admin/v1/audit?tenant={slug}", world.operator)
    assert [act["action"] for act in acts[:2]] == ["tenant.resumed", "tenant.suspended"]
    assert all(act["keyName"] for act in acts[:2])


async def test_a_key_is_shown_once_and_never_again(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    operator = await signed_in(world, client)
    made = await operator.post(f"/console/tenants/{slug}/keys", {"name": "once"})
    assert made.headers["cache-control"] == "no-store"
    text = made.text.partition('id="new-key">')[2].partition("<")[0]
    assert text.startswith("jgw_")
    for path in (f"tenants/{slug}", f"activity?tenant={slug}"):
        assert text not in (await client.get(f"/console/{path}")).text
    lines = (await client.get(f"/console/tenants/{slug}/export")).text
    assert text not in lines
