"""/admin/v1: tenants, credentials, keys, queue, audit."""

import json
from typing import Any

import pytest

from gateway.core.model import KeyKind
from gateway.flows.admin.audit import ACTIONS
from gateway.ports import Busy, Denied, Unknown, UpstreamProblem
from tests.web.conftest import GOOD, NOBODY, World, fields_of, next_page, problem

NO_LIMITS = {
    "maxQueued": None,
    "maxInFlight": None,
    "maxRate": None,
    "maxEndpoints": None,
    "keepPayloadsDays": None,
    "keepJobsDays": None,
    "keepAttemptsDays": None,
    "keepEventsDays": None,
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _slug(world: World) -> str:
    return f"t-{world.deps.ids.random_bytes(6).hex()}"


class TestTenants:
    async def test_are_created_read_and_listed(self, world: World) -> None:
        slug = _slug(world)
        given = {
            "slug": slug,
            "name": "Acme",
            "metadata": {"plan": "gold", "deep": {"a": [1]}},
            "limits": {"maxQueued": 5},
        }

        made = await world.send("POST", "/admin/v1/tenant", world.operator, given)

        assert made["limits"] == NO_LIMITS | {"maxQueued": 5, "maxInFlight": None}
        assert {name: made[name] for name in ("slug", "name", "metadata")} == {
            name: given[name] for name in ("slug", "name", "metadata")
        }
        assert made["suspendedAt"] is None
        assert await world.get(f"/admin/v1/tenant/{slug}", world.operator) == made
        before = slug[:-1]
        listed = await world.get(f"/admin/v1/tenant?cursor={before}&size=1", world.operator)
        assert listed == [made]

    async def test_need_only_a_slug_and_a_name(self, world: World) -> None:
        made = await world.send(
            "POST", "/admin/v1/tenant", world.operator, {"slug": _slug(world), "name": "A"}
        )

        assert made["metadata"] == {}

    async def test_are_listed_page_by_page(self, world: World) -> None:
        base = _slug(world)
        slugs = [f"{base}-{n}" for n in range(3)]
        for slug in slugs:
            await world.send(
                "POST", "/admin/v1/tenant", world.operator, {"slug": slug, "name": "A"}
            )

        first = await world.call("GET", f"/admin/v1/tenant?cursor={base}&size=2", world.operator)
        second = await world.call("GET", next_page(first), world.operator)

        assert [one["slug"] for one in first.json()] == slugs[:2]
        assert second.json()[0]["slug"] == slugs[2]

    async def test_change_only_in_the_given_fields(self, world: World) -> None:
        slug = await world.tenant("change", metadata='{"a": 1}')
        path = f"/admin/v1/tenant/{slug}"
        before = await world.get(path, world.operator)

        for change in ({"name": "New"}, {"metadata": {"b": 2}}, {"limits": {"maxInFlight": 3}}, {}):
            after = await world.send("PATCH", path, world.operator, change)

        assert (after["name"], after["metadata"]) == ("New", before["metadata"] | {"b": 2})
        assert after["limits"] == before["limits"] | {"maxInFlight": 3}
        assert after["createdAt"] == before["createdAt"]
        assert (await world.send("PATCH", path, world.operator))["name"] == "New"

    async def test_are_suspended_and_resumed(self, world: World, acme: str) -> None:
        path = f"/admin/v1/tenant/{acme}"

        held = await world.send("POST", f"{path}/suspend", world.operator)
        free = await world.send("POST", f"{path}/resume", world.operator)

        assert held["suspendedAt"] is not None
        assert free["suspendedAt"] is None

    async def test_are_deleted_with_all_their_data(self, world: World, acme: str) -> None:
        await world.job(acme)
        path = f"/admin/v1/tenant/{acme}"
        tenant = await world.get(path, world.operator)

        assert await world.send("DELETE", path, world.operator) == {"id": tenant["id"]}

        problem(await world.call("GET", path, world.operator), 404, "NOT_FOUND")

    async def test_have_one_slug_each(self, world: World, acme: str) -> None:
        body = {"slug": acme, "name": "A"}

        answer = await world.call("POST", "/admin/v1/tenant", world.operator, json=body)

        problem(answer, 409, "CONFLICT")

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"slug": ""}, ["slug"]),
            ({"slug": "Acme"}, ["slug"]),
            ({"slug": "a/b"}, ["slug"]),
            ({"slug": "-a"}, ["slug"]),
            ({"slug": "a\n"}, ["slug"]),
            ({"slug": "a" * 64}, ["slug"]),
            ({"name": ""}, ["name"]),
            ({"metadata": []}, ["metadata"]),
            ({"metadata": {"gatewayJobId": 1}}, ["metadata.gatewayJobId"]),
            ({"limits": {"maxQueued": 0}}, ["limits.maxQueued"]),
            ({"limits": {"maxInFlight": "5"}}, ["limits.maxInFlight"]),
            ({"limits": {"max": 5}}, ["limits.max"]),
            ({"limits": 5, "colour": 1}, ["colour", "limits"]),
        ],
    )
    async def test_are_checked(self, world: World, change: Any, named: list[str]) -> None:
        body = {"slug": _slug(world), "name": "A"} | change

        answer = await world.call("POST", "/admin/v1/tenant", world.operator, json=body)

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == named

    @pytest.mark.parametrize(
        ("method", "suffix", "body"),
        [
            ("GET", "", None),
            ("PATCH", "", {}),
            ("DELETE", "", None),
            ("POST", "/suspend", None),
            ("POST", "/resume", None),
            ("GET", "/credential", None),
            ("PUT", "/credential", {"apiKey": "k"}),
            ("GET", "/key", None),
            ("POST", "/key", {"name": "k"}),
        ],
    )
    @pytest.mark.parametrize(
        "slug", ["nobody", "%00", "%ff", "UPPER", "x" * 3000], ids=lambda s: s[:6]
    )
    async def test_that_do_not_exist(
        self, world: World, slug: str, method: str, suffix: str, body: Any
    ) -> None:
        path = f"/admin/v1/tenant/{slug}{suffix}"

        problem(await world.call(method, path, world.operator, json=body), 404, "NOT_FOUND")


class TestCredentials:
    async def test_are_versioned_and_never_shown(self, world: World) -> None:
        slug = await world.tenant("cred", credential=False)
        path = f"/admin/v1/tenant/{slug}/credential"
        await world.send("PUT", path, world.operator, {"apiKey": "very-secret-1"})

        answer = await world.call(
            "PUT",
            path,
            world.operator,
            json={"apiKey": "very-secret-2", "baseUrl": "https://other.example.com/v1/"},
        )

        versions = answer.json()
        assert [(one["version"], one["baseUrl"]) for one in versions] == [
            (2, "https://other.example.com/v1"),
            (1, "https://upstream.invalid/v1"),
        ]
        assert await world.get(path, world.operator) == versions
        assert "very-secret" not in answer.text
        assert world.upstream.keys[-2:] == ["very-secret-1", "very-secret-2"]

    @pytest.mark.parametrize(
        ("said", "status", "code"),
        [
            (Denied(401, UpstreamProblem("UNAUTHORIZED", "No", "no")), 400, "BAD_REQUEST"),
            (Busy("refused"), 502, "UPSTREAM_UNAVAILABLE"),
            (Unknown("timeout"), 504, "UPSTREAM_UNAVAILABLE"),
        ],
        ids=["denied", "busy", "timeout"],
    )
    async def test_are_checked_with_the_upstream_first(
        self, world: World, said: Any, status: int, code: str
    ) -> None:
        slug = await world.tenant("cred", credential=False)
        path = f"/admin/v1/tenant/{slug}/credential"
        world.upstream.name = said

        answer = await world.call("PUT", path, world.operator, json={"apiKey": "k"})

        problem(answer, status, code)
        assert await world.get(path, world.operator) == []

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"apiKey": ""},
            {"apiKey": "a b"},
            {"apiKey": "a\r\nX: y"},
            {"apiKey": "a\n"},
            {"apiKey": "k", "baseUrl": "https://x\n"},
            {"apiKey": "k", "baseUrl": "ftp://x"},
            {"apiKey": "k", "baseUrl": "https://user@x/"},
            {"apiKey": "k", "baseUrl": "https://x/?q"},
        ],
        ids=str,
    )
    async def test_are_well_formed(self, world: World, acme: str, body: Any) -> None:
        path = f"/admin/v1/tenant/{acme}/credential"

        answer = await world.call("PUT", path, world.operator, json=body)

        assert len(fields_of(problem(answer, 400, "BAD_REQUEST"))) == 1


class TestKeys:
    async def test_of_a_tenant(self, world: World, acme: str) -> None:
        path = f"/admin/v1/tenant/{acme}/key"

        made = await world.send(
            "POST",
            path,
            world.operator,
            {"name": "reader", "scopes": ["jobs:read"], "expiresSeconds": 60},
        )

        text = made.pop("accessKey")
        assert (made["kind"], made["tenant"], made["tenants"]) == ("tenant", acme, None)
        assert made["scopes"] == ["jobs:read"]
        assert made["expiresAt"] > made["createdAt"]
        await world.get("/v1/job", text)
        listed = {key["keyId"]: key for key in await world.get(path, world.operator)}
        assert listed[made["keyId"]].keys() == made.keys()
        assert listed[made["keyId"]]["lastUsedAt"] is not None

    async def test_of_services_and_operators(self, world: World, acme: str) -> None:
        service = await world.send(
            "POST",
            "/admin/v1/key",
            world.operator,
            {"kind": "service", "name": "s", "tenants": [acme]},
        )
        operator = await world.send(
            "POST", "/admin/v1/key", world.operator, {"kind": "operator", "name": "o"}
        )

        assert (service["tenant"], service["tenants"]) == (None, [acme])
        assert await world.get("/v1/job", service["accessKey"], **{"Gateway-Tenant": acme}) == []
        listed = await world.get("/admin/v1/key", operator["accessKey"])
        assert {service["keyId"], operator["keyId"]} <= {key["keyId"] for key in listed}
        assert not any("accessKey" in key for key in listed)

    async def test_of_deleted_tenants_are_shown_without_them(self, world: World) -> None:
        kept, gone = await world.tenant("kept"), await world.tenant("gone")
        made = await world.send(
            "POST",
            "/admin/v1/key",
            world.operator,
            {"kind": "service", "name": "s", "tenants": [kept, gone]},
        )
        await world.send("DELETE", f"/admin/v1/tenant/{gone}", world.operator)

        listed = await world.get("/admin/v1/key", world.operator)

        assert [k["tenants"] for k in listed if k["keyId"] == made["keyId"]] == [[kept]]

    async def test_are_rotated(self, world: World, acme: str) -> None:
        path = f"/admin/v1/tenant/{acme}/key"
        old = await world.send("POST", path, world.operator, {"name": "k"})

        later = await world.send(
            "POST",
            f"/admin/v1/key/{old['keyId']}/rotate",
            world.operator,
            {"overlapSeconds": 600},
        )
        last = await world.send("POST", f"/admin/v1/key/{later['keyId']}/rotate", world.operator)

        for text in (old["accessKey"], last["accessKey"]):
            await world.get("/v1/job", text)
        problem(await world.call("GET", "/v1/job", later["accessKey"]), 401, "UNAUTHORIZED")

    async def test_are_revoked(self, world: World, acme: str) -> None:
        made = await world.send(
            "POST", f"/admin/v1/tenant/{acme}/key", world.operator, {"name": "k"}
        )
        path = f"/admin/v1/key/{made['keyId']}"
        await world.get("/v1/job", made["accessKey"])

        ended = await world.send("DELETE", path, world.operator)

        assert ended["revokedAt"] is not None
        problem(await world.call("GET", "/v1/job", made["accessKey"]), 401, "UNAUTHORIZED")
        problem(await world.call("POST", f"{path}/rotate", world.operator), 409, "CONFLICT")

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({}, ["kind", "name"]),
            ({"kind": "tenant", "name": "k"}, ["kind"]),
            ({"kind": "service", "name": "k", "scopes": ["everything"]}, ["scopes[0]"]),
            ({"kind": "service", "name": "k", "scopes": ["admin"]}, ["scopes"]),
            ({"kind": "operator", "name": "k", "scopes": ["jobs:read"]}, ["scopes"]),
            ({"kind": "service", "name": "k", "tenants": ["nobody"]}, ["tenants"]),
            ({"kind": "service", "name": "k", "tenants": "acme"}, ["tenants"]),
            ({"kind": "service", "name": "k", "expiresSeconds": 0}, ["expiresSeconds"]),
            ({"kind": "service", "name": "k", "expiresSeconds": 1e300}, ["expiresSeconds"]),
        ],
    )
    async def test_are_checked(self, world: World, body: Any, named: list[str]) -> None:
        answer = await world.call("POST", "/admin/v1/key", world.operator, json=body)

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == named

    @pytest.mark.parametrize("key_id", ["nope", NOBODY, "%00"])
    async def test_that_do_not_exist(self, world: World, key_id: str) -> None:
        path = f"/admin/v1/key/{key_id}"

        for method, suffix in (("DELETE", ""), ("POST", "/rotate")):
            answer = await world.call(method, path + suffix, world.operator)
            problem(answer, 404, "NOT_FOUND")

    async def test_the_overlap_is_limited(self, world: World) -> None:
        answer = await world.call(
            "POST", "/admin/v1/key/x/rotate", world.operator, json={"overlapSeconds": -1}
        )

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["overlapSeconds"]


async def test_the_audit_log_has_actions_and_their_keys(world: World) -> None:
    slug = _slug(world)
    made = await world.send("POST", "/admin/v1/tenant", world.operator, {"slug": slug, "name": "A"})
    await world.send("POST", f"/admin/v1/tenant/{slug}/suspend", world.operator)

    first = await world.call("GET", "/admin/v1/audit?size=1", world.operator)
    second = await world.call("GET", next_page(first), world.operator)

    acts = [*first.json(), *second.json()]
    assert [(act["action"], act["subject"]) for act in acts] == [
        ("tenant.suspended", slug),
        ("tenant.created", slug),
    ]
    assert {act["keyId"] for act in acts} == {world.operator.split("_")[1]}
    assert {(act["keyName"], act["tenant"]) for act in acts} == {("test", slug)}
    assert made["slug"] == slug


async def test_the_audit_log_is_filtered(world: World, acme: str) -> None:
    path = f"/admin/v1/tenant/{acme}"
    await world.send("PATCH", path, world.operator, {"limits": {"maxQueued": 60}})
    made = await world.send("POST", f"{path}/key", world.operator, {"name": "k"})
    await world.send("DELETE", f"/admin/v1/key/{made['keyId']}", world.operator)
    key_id = world.operator.split("_")[1]

    mine = await world.get(f"/admin/v1/audit?tenant={acme}&actor={key_id}", world.operator)
    assert [act["action"] for act in mine] == ["key.revoked", "key.created", "tenant.changed"]
    assert mine[2]["detail"] == {"changes": {"limits.maxQueued": {"from": None, "to": 60}}}
    assert made["accessKey"] not in json.dumps(mine)
    for query, count in (
        ("action=tenant.changed&action=key.created", 3),
        ("actor=test&action=key.revoked", 1),
        ("createdAfter=2999-01-01T00:00:00Z", 0),
        ("createdBefore=2001-01-01T00:00:00Z", 0),
        ("createdAfter=2001-01-01T00:00:00Z&action=key.revoked", 1),
    ):
        found = await world.get(f"/admin/v1/audit?tenant={acme}&{query}", world.operator)
        assert len(found) == count, query
    assert {act["action"] for act in mine} <= set(ACTIONS)


class TestMerging:
    """A merge patch (RFC 7396): what it does not name stays."""

    async def test_one_limit_does_not_change_the_others(self, world: World, acme: str) -> None:
        path = f"/admin/v1/tenant/{acme}"
        limits = {"maxQueued": 50, "maxInFlight": 7, "keepJobsDays": 30, "maxEndpoints": 5}
        await world.send("PATCH", path, world.operator, {"limits": limits})

        after = await world.send("PATCH", path, world.operator, {"limits": {"maxQueued": 60}})
        assert after["limits"] == NO_LIMITS | limits | {"maxQueued": 60}
        after = await world.send("PATCH", path, world.operator, {"limits": {"keepJobsDays": None}})
        assert after["limits"] == NO_LIMITS | limits | {"maxQueued": 60, "keepJobsDays": None}
        after = await world.send("PATCH", path, world.operator, {"limits": {}})
        assert after["limits"]["maxInFlight"] == 7
        after = await world.send("PATCH", path, world.operator, {"limits": None})
        assert after["limits"] == NO_LIMITS

    async def test_metadata_is_merged_and_checked_as_a_whole(self, world: World, acme: str) -> None:
        path = f"/admin/v1/tenant/{acme}"
        for change, left in (
            ({"a": 1, "b": {"c": 2, "d": [1]}}, {"a": 1, "b": {"c": 2, "d": [1]}}),
            ({"b": {"c": None, "d": [2]}, "e": "f"}, {"a": 1, "b": {"d": [2]}, "e": "f"}),
            ({"a": None}, {"b": {"d": [2]}, "e": "f"}),
            ({}, {"b": {"d": [2]}, "e": "f"}),
            (None, {}),
        ):
            after = await world.send("PATCH", path, world.operator, {"metadata": change})
            assert after["metadata"] == left
        half = {f"k{n}": "x" for n in range(60)}
        await world.send("PATCH", path, world.operator, {"metadata": half})
        more = {"metadata": {f"m{n}": "x" for n in range(60)}}
        answer = await world.call("PATCH", path, world.operator, json=more)
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["metadata"]
        answer = await world.call("PATCH", path, world.operator, json={"metadata": [1]})
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["metadata"]


class TestReading:
    """Reading by support: any job, and with `admin:read` everything under /admin/v1."""

    async def test_a_job_of_any_tenant(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        mine = await world.get(f"/v1/job/{job_id}", acme)
        story = await world.get(f"/v1/job/{job_id}/event", acme)
        await world.send("POST", f"/admin/v1/tenant/{acme}/suspend", world.operator)
        reader = await world.key(KeyKind.OPERATOR, scopes=frozenset({"admin:read"}))

        for key in (world.operator, reader):
            shown = await world.get(f"/admin/v1/job/{job_id}", key)
            assert (shown["id"], shown["workflow"]) == (mine["id"], mine["workflow"])
            told = await world.get(f"/admin/v1/job/{job_id}/event", key)
            assert [one["text"] for one in told] == [one["text"] for one in story]
            for path in (f"/admin/v1/job/{NOBODY}", f"/admin/v1/job/{NOBODY}/event"):
                problem(await world.call("GET", path, key), 404, "NOT_FOUND")
        for path in (f"/admin/v1/job/{job_id}", f"/admin/v1/job/{job_id}/event"):
            problem(await world.call("GET", path, acme), 403, "FORBIDDEN")

    async def test_a_reader_changes_nothing(self, world: World, acme: str) -> None:
        key = await world.key(KeyKind.OPERATOR, scopes=frozenset({"admin:read"}))
        path = f"/admin/v1/tenant/{acme}"

        for read in ("/admin/v1/tenant", path, "/admin/v1/audit", "/admin/v1/queue", f"{path}/key"):
            assert (await world.call("GET", read, key)).status_code == 200
            assert (await world.call("HEAD", read, key)).status_code == 200
        for method, what, body in (
            ("PATCH", path, {}),
            ("POST", f"{path}/suspend", None),
            ("POST", "/admin/v1/key", {"kind": "service", "name": "x"}),
            ("DELETE", path, None),
        ):
            problem(await world.call(method, what, key, json=body), 403, "FORBIDDEN")

    @pytest.mark.parametrize("kind", ["tenant", "service"])
    async def test_only_operator_keys_have_that_scope(
        self, world: World, acme: str, kind: str
    ) -> None:
        body = {"name": "x", "scopes": ["admin:read"]}
        path = f"/admin/v1/tenant/{acme}/key" if kind == "tenant" else "/admin/v1/key"
        given = body if kind == "tenant" else body | {"kind": kind}
        answer = await world.call("POST", path, world.operator, json=given)
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["scopes"]


async def test_an_operator_key_for_some_tenants_is_refused(world: World, acme: str) -> None:
    body = {"kind": "operator", "name": "x", "tenants": [acme]}
    answer = await world.call("POST", "/admin/v1/key", world.operator, json=body)
    refused = problem(answer, 400, "BAD_REQUEST")
    assert refused["errors"][0]["reason"].startswith("an operator key is for all tenants")
    service = body | {"kind": "service"}
    assert (await world.send("POST", "/admin/v1/key", world.operator, service))["tenants"] == [acme]


async def test_a_bad_cursor_of_the_audit(world: World) -> None:
    answer = await world.call("GET", "/admin/v1/audit?cursor=x", world.operator)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["cursor"]


async def test_unknown_parameters_are_refused(world: World) -> None:
    for path in ("tenant", "key", "queue", "status", "audit"):
        answer = await world.call("GET", f"/admin/v1/{path}?x=1", world.operator)
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["x"]


async def test_a_tenants_new_limits_apply_at_once(world: World, acme: str) -> None:
    await world.job(acme)
    path = f"/admin/v1/tenant/{acme}"

    await world.send("PATCH", path, world.operator, {"limits": {"maxQueued": 1}})

    problem(await world.call("POST", "/v1/job", acme, json=GOOD), 429, "QUEUE_FULL")
