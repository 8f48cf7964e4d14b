"""Access keys: which are accepted, for which tenant, and for which calls."""

import pytest

from gateway.core.model import KeyKind
from gateway.flows.admin.access_keys import create_key, revoke_key, rotate_key
from gateway.flows.admin.tenants import delete_tenant, suspend_tenant
from tests.web.conftest import GOOD, NOBODY, World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "BEARER   {}"])
async def test_a_key_is_sent_alone_or_after_bearer(world: World, acme: str, form: str) -> None:
    headers = {"Authorization": form.format(world.keys[acme])}

    for path in ("/v1/application", "/api/application"):
        assert (await world.call("GET", path, headers=headers)).status_code == 200
    assert (await world.call("POST", "/v1/job", headers=headers, json=GOOD)).status_code == 200


_NONSENSE = [
    "",
    "Bearer",
    "Bearer ",
    "nobody-has-this-key",
    "Basic dXNlcjpwYXNz",
    "jgw_0123456789abcdef_" + "0" * 49,
    "\xe9",
    "x" * 5000,
]


@pytest.mark.parametrize("text", _NONSENSE, ids=range(len(_NONSENSE)))
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/job"),
        ("GET", "/v1/job"),
        ("GET", f"/v1/job/{NOBODY}"),
        ("GET", "/admin/v1/key"),
    ],
)
async def test_anything_else_is_not_a_key(world: World, method: str, path: str, text: str) -> None:
    headers = {"Authorization": text.encode("latin-1")} if text else {}

    answer = await world.call(method, path, headers=headers, content=b"not even json")

    problem(answer, 401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_with_another_secret_is_refused(world: World, acme: str) -> None:
    globex = await world.tenant("globex")
    stolen = world.keys[globex]
    mine = world.keys[acme]

    problem(await world.call("GET", "/v1/job", mine[:21] + stolen[21:]), 401, "UNAUTHORIZED")


async def test_a_revoked_key_ends_at_once(world: World, acme: str) -> None:
    key, text = await create_key(world.deps, "test", kind=KeyKind.TENANT, name="short", tenant=acme)
    await world.get("/v1/application", text)

    await revoke_key(world.deps, "test", key.key_id)

    problem(await world.call("POST", "/v1/job", text, json=GOOD), 401, "UNAUTHORIZED")


async def test_an_expired_key_is_refused(world: World, acme: str) -> None:
    text = await world.key(KeyKind.TENANT, tenant=acme, expires_seconds=-1)

    problem(await world.call("GET", "/v1/job", text), 401, "UNAUTHORIZED")


async def test_a_rotated_key_works_beside_its_successor(world: World, acme: str) -> None:
    key, old = await create_key(world.deps, "test", kind=KeyKind.TENANT, name="r", tenant=acme)

    _, new = await rotate_key(world.deps, "test", key.key_id, overlap_seconds=60)

    for text in (old, new):
        await world.get("/v1/application", text)


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("jobs:read", "GET", "/v1/job"),
        ("jobs:read", "GET", f"/v1/job/{NOBODY}"),
        ("jobs:read", "GET", f"/v1/job/{NOBODY}/status"),
        ("jobs:read", "GET", f"/v1/job/{NOBODY}/event"),
        ("jobs:read", "GET", "/v1/workflow"),
        ("jobs:read", "GET", "/v1/application"),
        ("jobs:write", "POST", "/v1/job"),
        ("jobs:write", "POST", "/v1/job/"),
        ("jobs:write", "DELETE", f"/v1/job/{NOBODY}"),
        ("jobs:write", "GET", "/v1/upload"),
        ("endpoints:read", "GET", "/v1/endpoint"),
        ("endpoints:read", "GET", f"/v1/endpoint/{NOBODY}"),
        ("endpoints:read", "GET", f"/v1/delivery/{NOBODY}"),
        ("endpoints:read", "GET", f"/v1/delivery?job={NOBODY}"),
        ("endpoints:write", "POST", "/v1/endpoint"),
        ("endpoints:write", "DELETE", f"/v1/endpoint/{NOBODY}"),
        ("endpoints:write", "GET", "/v1/endpoint/default-secret"),
        ("usage:read", "GET", "/v1/usage"),
    ],
)
async def test_a_call_needs_its_scope_and_no_other(
    world: World, acme: str, scope: str, method: str, path: str
) -> None:
    every = {"jobs:read", "jobs:write", "endpoints:read", "endpoints:write", "usage:read"}
    without = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset(every - {scope}))
    only = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({scope}))

    refused = await world.call(method, path, without)
    allowed = await world.call(method, path, only)

    assert scope in problem(refused, 403, "FORBIDDEN")["detail"]
    assert allowed.status_code in (200, 400, 404), allowed.text


class TestServiceKeys:
    async def test_act_for_the_tenant_they_name(self, world: World, acme: str) -> None:
        key = await world.key(KeyKind.SERVICE)
        headers = {"Gateway-Tenant": acme}

        made = await world.call("POST", "/v1/job", key, headers=headers, json=GOOD)

        assert made.status_code == 200
        job = await world.get(f"/v1/job/{made.json()['id']}", acme)
        assert job["gateway"]["tenant"] == acme

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/v1/job"),
            ("GET", "/v1/delivery"),
            ("DELETE", f"/v1/job/{NOBODY}"),
            ("GET", "/v1/endpoint"),
            ("POST", "/v1/endpoint"),
            ("GET", "/v1/upload"),
        ],
    )
    async def test_have_to_name_one(self, world: World, method: str, path: str) -> None:
        answer = await world.call(method, path, await world.key(KeyKind.SERVICE))

        assert problem(answer, 400, "BAD_REQUEST")["errors"][0]["field"] == "Gateway-Tenant"

    async def test_cannot_name_a_tenant_they_may_not_act_for(self, world: World, acme: str) -> None:
        globex = await world.tenant("globex")
        key = await world.key(KeyKind.SERVICE, allowed_tenants=[acme])

        foreign, unknown = [
            problem(
                await world.call("POST", "/v1/job", key, headers={"Gateway-Tenant": slug}),
                404,
                "NOT_FOUND",
            )
            for slug in (globex, "nobody")
        ]

        assert foreign["detail"].replace(globex, "") == unknown["detail"].replace("nobody", "")

    async def test_read_a_job_by_its_id_alone(self, world: World, acme: str) -> None:
        globex, job_id = await world.tenant("globex"), await world.job(acme)
        paths = [f"/v1/job/{job_id}{more}" for more in ("", "?wait=0.01", "/status", "/event")]
        paths.append(f"/api/job/{job_id}")
        wide = await world.key(KeyKind.SERVICE)
        some = await world.key(KeyKind.SERVICE, allowed_tenants=[globex])

        for path in paths:
            assert (await world.call("GET", path, wide)).status_code == 200
            problem(await world.call("GET", path, some), 404, "NOT_FOUND")
            problem(await world.call("GET", path.replace(job_id, NOBODY), wide), 404, "NOT_FOUND")
        await suspend_tenant(world.deps, "test", acme, suspended=True)
        assert (await world.get(paths[0], wide))["id"] == job_id

    @pytest.mark.parametrize("empty", ["", " ", "\t"])
    async def test_an_empty_name_is_refused(self, world: World, acme: str, empty: str) -> None:
        key = await world.key(KeyKind.SERVICE)
        for method, path in (("GET", "/v1/job"), ("GET", "/v1/usage"), ("POST", "/v1/job")):
            answer = await world.call(method, path, key, headers={"Gateway-Tenant": empty})
            assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["Gateway-Tenant"]

    @pytest.mark.parametrize("name", ["Acme", "a" * 64, "a b", "-a", "a_b", "x" * 100_000, "é"])
    async def test_a_name_that_is_no_slug_is_not_looked_up(
        self, world: World, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(
            "gateway.flows.accept.authenticate.tenants.by_slug", lambda _, slug: asked.append(slug)
        )
        headers = {"Gateway-Tenant": name.encode()}

        answer = await world.call(
            "GET", "/v1/job", await world.key(KeyKind.SERVICE), headers=headers
        )

        assert len(problem(answer, 404, "NOT_FOUND")["detail"]) < 100
        assert asked == []


async def test_a_tenant_key_cannot_name_another_tenant(world: World, acme: str) -> None:
    globex = await world.tenant("globex")

    answer = await world.call("GET", "/v1/job", acme, headers={"Gateway-Tenant": globex})

    problem(answer, 403, "FORBIDDEN")
    await world.get("/v1/job", acme, **{"Gateway-Tenant": acme})


async def test_administration_is_for_operator_keys(world: World, acme: str) -> None:
    service = await world.key(KeyKind.SERVICE)

    for key in (acme, service):
        answer = await world.call("GET", "/admin/v1/tenant", key)
        assert "operator key" in problem(answer, 403, "FORBIDDEN")["detail"]


async def test_an_operator_key_without_scopes_is_refused(world: World) -> None:
    key = await world.key(KeyKind.OPERATOR, scopes=frozenset())

    assert (
        "admin"
        in problem(await world.call("GET", "/admin/v1/key", key), 403, "FORBIDDEN")["detail"]
    )


class TestSuspendedTenants:
    async def test_are_refused_and_then_let_in_again(self, world: World, acme: str) -> None:
        await suspend_tenant(world.deps, "test", acme, suspended=True)

        for method, path in (("POST", "/v1/job"), ("GET", "/v1/job"), ("GET", "/v1/endpoint")):
            answer = await world.call(method, path, acme, json=GOOD if method == "POST" else None)
            problem(answer, 403, "TENANT_SUSPENDED")
        assert await world.count(acme) == 0

        await suspend_tenant(world.deps, "test", acme, suspended=False)
        await world.job(acme)

    async def test_can_be_read_by_services_but_not_changed(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        await suspend_tenant(world.deps, "test", acme, suspended=True)
        key, headers = await world.key(KeyKind.SERVICE), {"Gateway-Tenant": acme}

        assert await world.get(f"/v1/job/{job_id}", key, **headers)
        for method, path in (("POST", "/v1/job"), ("DELETE", f"/v1/job/{job_id}")):
            answer = await world.call(method, path, key, headers=headers, content=b"{}")
            problem(answer, 403, "TENANT_SUSPENDED")


async def test_the_keys_of_a_deleted_tenant_are_gone(world: World, acme: str) -> None:
    await world.get("/v1/application", acme)

    await delete_tenant(world.deps, "test", acme)

    problem(await world.call("GET", "/v1/job", acme), 401, "UNAUTHORIZED")


async def test_a_tenant_key_without_a_tenant_is_refused(world: World) -> None:
    text = await world.key(KeyKind.TENANT)

    problem(await world.call("GET", "/v1/job", text), 401, "UNAUTHORIZED")


async def test_a_service_key_for_no_tenant_sees_nothing(world: World, acme: str) -> None:
    await world.job(acme)
    key = await world.key(KeyKind.SERVICE, allowed_tenants=[])

    assert await world.get("/v1/job", key) == []
    assert (await world.get("/v1/usage", key))["rows"][0]["jobs"] == 0
