"""Roles: what each may call, in the tenant API and in administration, and nothing of other tenants."""

from typing import Any

import pytest

from gateway.core.lifecycle import cancelled
from gateway.core.model import KeyKind
from gateway.core.roles import Role
from gateway.flows.admin.tenants import suspend_tenant
from gateway.web.openapi.document import main_document, older_document
from tests.web.conftest import GOOD, NOBODY, World, problem
from tests.web.webhooks import HOOK, delivery, endpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ANY, _VIEWER, _SUPPORT, _OPERATOR = None, Role.VIEWER, Role.SUPPORT, Role.OPERATOR

# The least role that each call needs. What reads is not listed here: it needs the role of a viewer.
_LEAST: dict[tuple[str, str], Role | None] = {
    ("get", "/v1/whoami"): _ANY,
    # Repairs.
    ("delete", "/v1/job/{job_id}"): _SUPPORT,
    ("post", "/v1/job/{job_id}/retry"): _SUPPORT,
    ("post", "/v1/job/cancel"): _SUPPORT,
    ("post", "/v1/job/retry"): _SUPPORT,
    ("post", "/v1/job/resend"): _SUPPORT,
    ("post", "/v1/delivery/{delivery_id}/resend"): _SUPPORT,
    ("post", "/v1/delivery/resend"): _SUPPORT,
    ("post", "/v1/delivery/recover"): _SUPPORT,
    ("post", "/v1/endpoint/{endpoint_id}/recover"): _SUPPORT,
    ("post", "/v1/endpoint/{endpoint_id}/replay-missing"): _SUPPORT,
    ("post", "/v1/endpoint/{endpoint_id}/test"): _SUPPORT,
    ("post", "/v1/endpoint/{endpoint_id}/check"): _SUPPORT,
    ("post", "/v1/event/test"): _SUPPORT,
    ("post", "/v1/bulk/{operation_id}/stop"): _SUPPORT,
    ("post", "/admin/v1/tenant/{slug}/portal-link"): _SUPPORT,
    # It reads a scope first; the handler asks for the role of support.
    ("post", "/v1/portal-link"): _VIEWER,
    # Whatever makes new things, changes them, or shows a secret.
    ("get", "/v1/upload"): _OPERATOR,
    ("get", "/v1/endpoint/default-secret"): _OPERATOR,
    ("post", "/v1/job"): _OPERATOR,
    ("post", "/v1/batch"): _OPERATOR,
    ("post", "/v1/endpoint"): _OPERATOR,
    ("patch", "/v1/endpoint/{endpoint_id}"): _OPERATOR,
    ("delete", "/v1/endpoint/{endpoint_id}"): _OPERATOR,
    ("post", "/v1/endpoint/{endpoint_id}/enable"): _OPERATOR,
    ("post", "/v1/endpoint/{endpoint_id}/disable"): _OPERATOR,
    ("post", "/v1/endpoint/{endpoint_id}/rotate-secret"): _OPERATOR,
    ("post", "/v1/endpoint/default-secret/rotate"): _OPERATOR,
    ("post", "/admin/v1/tenant"): _OPERATOR,
    ("patch", "/admin/v1/tenant/{slug}"): _OPERATOR,
    ("delete", "/admin/v1/tenant/{slug}"): _OPERATOR,
    ("post", "/admin/v1/tenant/{slug}/suspend"): _OPERATOR,
    ("post", "/admin/v1/tenant/{slug}/resume"): _OPERATOR,
    ("put", "/admin/v1/tenant/{slug}/credential"): _OPERATOR,
    ("put", "/admin/v1/tenant/{slug}/portal"): _OPERATOR,
    ("post", "/admin/v1/tenant/{slug}/key"): _OPERATOR,
    ("post", "/admin/v1/key"): _OPERATOR,
    ("post", "/admin/v1/key/{key_id}/rotate"): _OPERATOR,
    ("delete", "/admin/v1/key/{key_id}"): _OPERATOR,
    ("delete", "/admin/v1/session/{session_id}"): _OPERATOR,
}
_IDS = ("job_id", "endpoint_id", "delivery_id", "operation_id", "session_id")
_RANK = {None: 0, Role.VIEWER: 1, Role.SUPPORT: 2, Role.OPERATOR: 3}


def _operations(document: Any) -> list[tuple[str, str]]:
    """Every call that needs a key."""
    return [
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation["security"]
    ]


_MAIN, _OLDER = _operations(main_document()), _operations(older_document())


def _least(method: str, path: str) -> Role | None:
    known = (method, path.replace("/api/", "/v1/"))
    if known in _LEAST:
        return _LEAST[known]
    assert method == "get", f"{method} {path} writes: name the role that it needs"
    return Role.VIEWER


def _filled(path: str, **ids: str) -> str:
    values = {**dict.fromkeys(_IDS, NOBODY), "slug": "nobody", "key_id": "0" * 16} | ids
    return path.format(**values)


async def test_the_table_has_no_call_that_there_is_not():
    assert set(_LEAST) - set(_MAIN) == set()


@pytest.mark.parametrize(("method", "path"), [*_MAIN, *_OLDER])
async def test_each_role_may_do_what_the_table_says(world: World, method: str, path: str) -> None:
    slug = await world.tenant("acme", credential=False)
    least = _least(method, path)
    for role in Role:
        key = await world.key(KeyKind.OPERATOR, role=role)
        # A parameter that no call has: whoever is let in is told so, and nothing happens.
        answer = await world.call(
            method.upper(), f"{_filled(path)}?nope=1", key, headers={"Gateway-Tenant": slug}
        )
        if _RANK[role] >= _RANK[least]:
            problem(answer, 400, "BAD_REQUEST")
        else:
            told = problem(answer, 403, "FORBIDDEN")["detail"]
            assert "The access key lacks the scope " in told
            assert f"Its role is {role}; this needs the role {least}." in told


@pytest.mark.parametrize(("method", "path"), [one for one in _MAIN if one[1].startswith("/admin")])
@pytest.mark.parametrize("kind", [KeyKind.TENANT, KeyKind.SERVICE])
async def test_other_kinds_of_keys_administer_nothing(
    world: World, acme: str, method: str, path: str, kind: KeyKind
) -> None:
    if path.endswith("/whoami"):
        return
    key = await world.key(kind, tenant=acme if kind is KeyKind.TENANT else None)
    answer = await world.call(method.upper(), f"{_filled(path, slug=acme)}?nope=1", key)
    assert "needs an operator key" in problem(answer, 403, "FORBIDDEN")["detail"]


_BODIES: dict[str, Any] = {
    "/recover": {"since": "2001-01-01T00:00:00Z"},
    "/replay-missing": {"since": "2001-01-01T00:00:00Z"},
    "/rotate-secret": {},
}
_OWNED = [
    (method, path)
    for method, path in _MAIN
    if path.startswith("/v1/") and any(f"{{{name}}}" in path for name in _IDS)
]


@pytest.mark.parametrize(("method", "path"), _OWNED)
async def test_what_another_tenant_owns_is_not_there(
    world: World, acme: str, method: str, path: str
) -> None:
    globex = await world.tenant("globex")
    job, to = await world.job(globex), await endpoint(world, globex)
    begun = await world.send(
        "POST", f"/v1/endpoint/{to}/replay-missing", globex, {"since": "2001-01-01T00:00:00Z"}
    )
    ids = {
        "job_id": job,
        "endpoint_id": to,
        "delivery_id": await delivery(world, globex, to, state="parked"),
        "operation_id": begun["id"],
    }
    body = next((body for end, body in _BODIES.items() if path.endswith(end)), {})
    options = {} if method == "get" else {"json": body}
    operator = await world.key(KeyKind.OPERATOR, role=Role.OPERATOR)
    for key, tenant in ((acme, acme), (operator, acme)):
        answer = await world.call(
            method.upper(),
            _filled(path, **ids),
            key,
            headers={"Gateway-Tenant": tenant},
            **options,
        )
        problem(answer, 404, "NOT_FOUND")


# --- The three roles at work ---------------------------------------------------------------------


async def test_one_key_of_support_finds_a_job_and_repairs_it(world: World, acme: str) -> None:
    key = await world.key(KeyKind.OPERATOR, role=Role.SUPPORT)
    job_id = await world.job(acme)
    assert (await world.get(f"/v1/job/{job_id}", key))["gateway"]["tenant"] == acme
    assert (await world.get(f"/admin/v1/job/{job_id}", key))["id"] == job_id
    assert job_id in {one["id"] for one in await world.get("/v1/job", key)}
    headers = {"Gateway-Tenant": acme}
    cancelled = await world.call("DELETE", f"/v1/job/{job_id}", key, headers=headers)
    assert cancelled.status_code == 200
    to = await endpoint(world, acme)
    tried = await world.call("POST", f"/v1/endpoint/{to}/test", key, headers=headers, json={})
    assert tried.status_code == 200


async def test_support_cancels_open_jobs_and_deletes_none(world: World, acme: str) -> None:
    key = await world.key(KeyKind.OPERATOR, role=Role.SUPPORT)
    job_id, headers = await world.job(acme), {"Gateway-Tenant": acme}
    await world.finish(job_id, cancelled())
    answer = await world.call("DELETE", f"/v1/job/{job_id}", key, headers=headers)
    assert "jobs:write" in problem(answer, 403, "FORBIDDEN")["detail"]
    assert (await world.get(f"/v1/job/{job_id}", key))["id"] == job_id
    gone = await world.call("DELETE", f"/v1/job/{job_id}", world.operator, headers=headers)
    assert gone.status_code == 200


async def test_support_stops_operations_on_jobs_and_on_deliveries(world: World, acme: str) -> None:
    key = await world.key(KeyKind.OPERATOR, role=Role.SUPPORT)
    to, headers = await endpoint(world, acme), {"Gateway-Tenant": acme}
    await delivery(world, acme, to, state="parked")
    await world.job(acme)
    for path, body in (
        ("/v1/job/cancel", {"filter": {"status": ["QUEUED"]}}),
        (f"/v1/endpoint/{to}/recover", {"since": "2001-01-01T00:00:00Z"}),
    ):
        begun = await world.call("POST", path, key, headers=headers, json=body)
        assert begun.status_code == 200, begun.text
        listed = await world.get("/v1/bulk", key, **headers)
        assert begun.json()["id"] in {one["id"] for one in listed}
        stopped = await world.call(
            "POST", f"/v1/bulk/{begun.json()['id']}/stop", key, headers=headers
        )
        assert stopped.status_code == 200, stopped.text


async def test_a_role_has_to_name_the_tenant_where_a_service_key_has_to(world: World) -> None:
    for method, path in (("GET", "/v1/delivery"), ("POST", "/v1/job")):
        answer = await world.call(method, path, world.operator, content=b"{}")
        assert "an operator key has to name" in problem(answer, 400, "BAD_REQUEST")["detail"]


async def test_an_operator_creates_jobs_and_endpoints(world: World, acme: str) -> None:
    for path, body in (("/v1/job", GOOD), ("/v1/endpoint", HOOK)):
        made = await world.call(
            "POST", path, world.operator, headers={"Gateway-Tenant": acme}, json=body
        )
        assert made.status_code == 200, made.text


async def test_of_a_suspended_tenant_roles_read_and_change_nothing(world: World, acme: str) -> None:
    job_id = await world.job(acme)
    await suspend_tenant(world.deps, "test", acme, suspended=True)
    key = await world.key(KeyKind.OPERATOR, role=Role.SUPPORT)
    headers = {"Gateway-Tenant": acme}
    assert (await world.get(f"/v1/job/{job_id}", key, **headers))["id"] == job_id
    answer = await world.call("POST", f"/v1/job/{job_id}/retry", key, headers=headers)
    problem(answer, 403, "TENANT_SUSPENDED")


@pytest.mark.parametrize("role", list(Role))
async def test_a_key_is_made_with_a_role_and_shown_with_it(world: World, role: Role) -> None:
    made = await world.send(
        "POST",
        "/admin/v1/key",
        world.operator,
        {"kind": "operator", "name": "Ann", "role": role.value},
    )
    assert made["role"] == role
    whoami = await world.get("/v1/whoami", made["accessKey"])
    assert (whoami["role"], whoami["scopes"]) == (role, made["scopes"])
    listed = await world.get("/admin/v1/key", made["accessKey"])
    assert {one["keyId"]: one["role"] for one in listed}[made["keyId"]] == role
    rotated = await world.send(
        "POST", f"/admin/v1/key/{made['keyId']}/rotate", world.operator, {"overlapSeconds": 60}
    )
    assert rotated["role"] == role


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "service", "role": "viewer"}, "is for operator keys; a service key takes scopes"),
        ({"kind": "operator", "role": "viewer", "scopes": ["admin"]}, "cannot be combined"),
        ({"kind": "operator", "role": "root"}, "role"),
    ],
)
async def test_a_role_that_cannot_be(world: World, given: dict[str, Any], told: str) -> None:
    answer = await world.call("POST", "/admin/v1/key", world.operator, json={"name": "n"} | given)
    body = problem(answer, 400, "BAD_REQUEST")
    assert [one["field"] for one in body["errors"]] == ["role"]
    assert told in body["detail"]


async def test_other_keys_have_no_role(world: World, acme: str) -> None:
    assert (await world.get("/v1/whoami", acme))["role"] is None
    made = await world.send(
        "POST", "/admin/v1/key", world.operator, {"kind": "service", "name": "s"}
    )
    assert made["role"] is None
    assert "support" not in made["scopes"]
