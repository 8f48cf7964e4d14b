"""Bulk operations: start, dry run, progress and stop."""

from typing import Any

import pytest

from gateway.core.model import KeyKind
from gateway.flows.accept.acceptor import Acceptor
from gateway.flows.bulk.deliveries import step
from tests.web.conftest import NOBODY, World, fields_of, next_page, problem
from tests.web.webhooks import delivery, endpoint, event, failed, succeeded

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LONG_AGO = "2001-01-01T00:00:00Z"


async def _finished(world: World, slug: str, operation: dict[str, Any]) -> dict[str, Any]:
    """The operation after workers have done all of it."""
    while await step(world.deps, Acceptor(world.deps)):
        pass
    return await world.get(f"/v1/bulk/{operation['id']}", slug)


async def _pending(world: World, slug: str) -> list[str]:
    found = await world.get("/v1/delivery?status=pending", slug)
    return [one["id"] for one in found if one["resentAt"]]


async def _some(world: World, slug: str) -> tuple[str, dict[str, str]]:
    """An endpoint with deliveries of every kind."""
    to = await endpoint(world, slug)
    made = {
        "waits": await delivery(world, slug, to),
        "failed": await failed(world, slug, to),
        "done": await succeeded(world, slug, to, kind="job.failed"),
        "parked": await delivery(world, slug, to, state="parked"),
        "own": await failed(world, slug, None),
    }
    return to, made


class TestRecover:
    async def test_undelivered_webhooks_are_sent(self, world: World, acme: str) -> None:
        to, made = await _some(world, acme)
        path = f"/v1/endpoint/{to}/recover"

        dry = await world.send("POST", path, acme, {"since": _LONG_AGO, "dryRun": True})
        assert dry == {
            "dryRun": True,
            "count": 3,
            "statuses": {"pending": 1, "exhausted": 1, "parked": 1},
            "disabled": 0,
        }
        assert await world.get("/v1/bulk", acme) == []

        begun = await world.send("POST", path, acme, {"since": "2001-01-01T02:00:00+02:00"})
        assert begun == {
            "id": begun["id"],
            "kind": "recover",
            "endpointId": to,
            "state": "running",
            "total": 3,
            "done": 0,
            "createdAt": begun["createdAt"],
            "completedAt": None,
        }
        assert await world.get(f"/v1/bulk/{begun['id']}", acme) == begun
        assert world.queue.wakes[-1][0] == "bulk"

        ended = await _finished(world, acme, begun)
        assert (ended["state"], ended["done"]) == ("done", 3)
        assert ended["completedAt"] > ended["createdAt"]
        assert await _pending(world, acme) == [made["parked"], made["failed"], made["waits"]]

    async def test_all_receivers_at_once(self, world: World, acme: str) -> None:
        _, made = await _some(world, acme)
        path, since = "/v1/delivery/recover", {"since": _LONG_AGO}

        before = {**since, "until": "2001-01-02T00:00:00Z", "dryRun": True}
        assert (await world.send("POST", path, acme, before))["count"] == 0
        begun = await world.send("POST", path, acme, since)

        assert (begun["kind"], begun["endpointId"], begun["total"]) == ("recover", None, 4)
        assert (await _finished(world, acme, begun))["done"] == 4
        wanted = [made[name] for name in ("own", "parked", "failed", "waits")]
        assert await _pending(world, acme) == wanted

    async def test_a_tenant_has_a_limit_of_running_operations(
        self, world: World, acme: str
    ) -> None:
        to, _ = await _some(world, acme)
        path, since = f"/v1/endpoint/{to}/recover", {"since": _LONG_AGO}
        for _ in range(20):
            await world.send("POST", path, acme, since)

        refused = await world.call("POST", path, acme, json=since)
        dry = await world.send("POST", path, acme, {**since, "dryRun": True})

        assert "20 bulk operations" in problem(refused, 429, "RATE_LIMITED")["detail"]
        assert refused.headers["retry-after"] == "5"
        assert '"bulk";q=20' in refused.headers["ratelimit-policy"]
        assert dry["count"] == 3

    async def test_a_disabled_endpoint_has_to_be_enabled_first(
        self, world: World, acme: str
    ) -> None:
        to, _ = await _some(world, acme)
        await world.send("POST", f"/v1/endpoint/{to}/disable", acme)

        for act in ("recover", "replay-missing"):
            path = f"/v1/endpoint/{to}/{act}"
            body = problem(
                await world.call("POST", path, acme, json={"since": _LONG_AGO}), 409, "CONFLICT"
            )
            assert "Enable" in body["detail"]


class TestReplayMissing:
    async def test_events_from_before_the_endpoint_are_sent(self, world: World, acme: str) -> None:
        missed = [await event(world, acme), await event(world, acme, "job.failed")]
        to = await endpoint(world, acme, events=["test.ping"])
        path = f"/v1/endpoint/{to}/replay-missing"

        dry = await world.send("POST", path, acme, {"since": _LONG_AGO, "dryRun": True})
        begun = await world.send("POST", path, acme, {"since": _LONG_AGO})

        assert dry == {"dryRun": True, "count": begun["total"]} == {"dryRun": True, "count": 1}
        assert (await _finished(world, acme, begun))["done"] == 1
        (owed,) = await world.get(f"/v1/delivery?endpoint={to}", acme)
        assert (owed["eventId"], owed["state"]) == (str(missed[0]), "pending")
        assert (await world.send("POST", path, acme, {"since": _LONG_AGO}))["state"] == "done"


@pytest.mark.parametrize("act", ["recover", "replay-missing"])
async def test_since_is_checked(world: World, acme: str, act: str) -> None:
    path = f"/v1/endpoint/{await endpoint(world, acme)}/{act}"
    bad: list[tuple[Any, str]] = [
        ({}, "since"),
        ({"since": None}, "since"),
        ({"since": 0}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-02-30"}, "since"),
        ({"since": "2999-01-01T00:00:00Z"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"since": "9999-12-31T23:59:59-14:00"}, "since"),
        ({"since": _LONG_AGO, "dryRun": 1}, "dryRun"),
        ({"since": _LONG_AGO, "until": _LONG_AGO}, "until"),
        ({"since": _LONG_AGO, "until": "2001-01-01T00:00:00"}, "until"),
        ({"since": _LONG_AGO, "til": _LONG_AGO}, "til"),
    ]

    for fields, named in bad:
        body = problem(await world.call("POST", path, acme, json=fields), 400, "BAD_REQUEST")
        assert fields_of(body) == [named], fields
    assert await world.get("/v1/bulk", acme) == []


class TestResend:
    async def test_all_deliveries_of_a_filter(self, world: World, acme: str) -> None:
        to, made = await _some(world, acme)
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"endpoint": [to]}, ["parked", "done", "failed", "waits"]),
            ({"status": ["pending"]}, ["waits"]),
            ({"status": ["delivered", "parked"]}, ["parked", "done"]),
            ({"event": ["job.failed"]}, ["done"]),
            ({"outcome": ["http_5xx"]}, ["own", "failed"]),
            ({"job": [NOBODY]}, []),
            ({"createdAfter": _LONG_AGO}, ["own", "parked", "done", "failed", "waits"]),
            ({"createdBefore": _LONG_AGO}, []),
        ]

        for wanted, names in cases:
            dry = await world.send(
                "POST", "/v1/delivery/resend", acme, {"filter": wanted, "dryRun": True}
            )
            assert (dry["count"], sum(dry["statuses"].values())) == (len(names),) * 2, wanted
        given = {"filter": {"outcome": ["http_5xx"], "createdAfter": None}}
        begun = await world.send("POST", "/v1/delivery/resend", acme, given)

        assert (begun["kind"], begun["endpointId"], begun["total"]) == ("resend", None, 2)
        assert (await _finished(world, acme, begun))["done"] == 2
        assert await _pending(world, acme) == [made["own"], made["failed"]]

    async def test_the_filter_is_checked(self, world: World, acme: str) -> None:
        await _some(world, acme)
        bad: list[tuple[Any, list[str]]] = [
            ({}, ["filter"]),
            ({"filter": None}, ["filter"]),
            ({"filter": []}, ["filter"]),
            ({"filter": {}}, ["filter"]),
            ({"filter": {"event": []}}, ["filter.event"]),
            ({"filter": {"createdAfter": None}}, ["filter"]),
            ({"filter": {"status": ["lost"]}}, ["filter.status[0]"]),
            ({"filter": {"status": "parked"}}, ["filter.status"]),
            ({"filter": {"endpoint": ["nope"]}}, ["filter.endpoint[0]"]),
            ({"filter": {"endpoint": [NOBODY] * 1001}}, ["filter.endpoint"]),
            ({"filter": {"job": [1]}}, ["filter.job[0]"]),
            ({"filter": {"event": ["x"], "color": 1}}, ["filter.color", "filter.event[0]"]),
            ({"filter": {"outcome": [None]}}, ["filter.outcome[0]"]),
            ({"filter": {"createdAfter": "20260101"}}, ["filter.createdAfter"]),
            ({"filter": {"createdBefore": "0001-01-01T00:00:00+14:00"}}, ["filter.createdBefore"]),
            ({"filter": {"job": [NOBODY]}, "dryRun": "yes"}, ["dryRun"]),
        ]

        for fields, named in bad:
            answer = await world.call("POST", "/v1/delivery/resend", acme, json=fields)
            assert fields_of(problem(answer, 400, "BAD_REQUEST")) == named, fields
        assert await world.get("/v1/bulk", acme) == []

    async def test_not_those_of_another_tenant(self, world: World, acme: str) -> None:
        to, made = await _some(world, acme)
        globex = await world.tenant("globex")
        given = {"filter": {"endpoint": [to]}, "dryRun": True}

        dry = await world.send("POST", "/v1/delivery/resend", globex, given)

        assert dry["count"] == 0
        assert made


class TestScopes:
    """Operations on jobs need the scopes of jobs, those on deliveries the scopes of endpoints."""

    async def test_each_kind_is_read_with_its_own_scope(self, world: World, acme: str) -> None:
        await world.job(acme)
        about_jobs = await world.send(
            "POST", "/v1/job/cancel", acme, {"filter": {"status": ["QUEUED"]}}
        )
        to, _ = await _some(world, acme)
        about_deliveries = await world.send(
            "POST", f"/v1/endpoint/{to}/recover", acme, {"since": _LONG_AGO}
        )
        operations = {"jobs": about_jobs, "endpoints": about_deliveries}

        for part, other in (("jobs", "endpoints"), ("endpoints", "jobs")):
            mine, theirs = [f"/v1/bulk/{operations[one]['id']}" for one in (part, other)]
            both = frozenset({f"{part}:read", f"{part}:write"})
            key = await world.key(KeyKind.TENANT, tenant=acme, scopes=both)

            assert await world.get(mine, key) == operations[part]
            assert await world.get("/v1/bulk", key) == [operations[part]]
            assert (await world.send("POST", f"{mine}/stop", key))["state"] == "stopped"
            for method, path, scope in (
                ("GET", theirs, "read"),
                ("POST", f"{theirs}/stop", "write"),
            ):
                body = problem(await world.call(method, path, key), 403, "FORBIDDEN")
                assert f"{other}:{scope}" in body["detail"]

    async def test_pages_have_only_readable_operations(self, world: World, acme: str) -> None:
        given = {"filter": {"job": [NOBODY]}}
        seen = await world.send("POST", "/v1/delivery/resend", acme, given)
        given = {"filter": {"name": ["nobody's"]}}
        await world.send("POST", "/v1/job/retry", acme, given)
        scopes = frozenset({"endpoints:read"})
        key = await world.key(KeyKind.TENANT, tenant=acme, scopes=scopes)

        page = await world.call("GET", "/v1/bulk?size=1", key)

        assert (page.json(), "link" in page.headers) == ([seen], False)

    async def test_a_call_needs_one_of_them(self, world: World, acme: str) -> None:
        reads = frozenset({"jobs:read", "endpoints:read", "usage:read"})
        writes = frozenset({"jobs:write", "endpoints:write", "usage:read"})
        reader, writer = [
            await world.key(KeyKind.TENANT, tenant=acme, scopes=scopes)
            for scopes in (reads, writes)
        ]

        for key, method, path, lacks in (
            (writer, "GET", "/v1/bulk", "endpoints:read or jobs:read"),
            (writer, "GET", f"/v1/bulk/{NOBODY}", "endpoints:read or jobs:read"),
            (reader, "POST", f"/v1/bulk/{NOBODY}/stop", "endpoints:write or jobs:write"),
        ):
            body = problem(await world.call(method, path, key), 403, "FORBIDDEN")
            assert lacks in body["detail"]


class TestOperations:
    async def test_an_operation_is_stopped(self, world: World, acme: str) -> None:
        to, _ = await _some(world, acme)
        begun = await world.send("POST", f"/v1/endpoint/{to}/recover", acme, {"since": _LONG_AGO})
        path = f"/v1/bulk/{begun['id']}"

        stopped = await world.send("POST", f"{path}/stop", acme)

        assert (stopped["state"], stopped["done"]) == ("stopped", 0)
        assert stopped == await _finished(world, acme, begun)
        assert await _pending(world, acme) == []
        problem(await world.call("POST", f"{path}/stop", acme), 409, "CONFLICT")

    async def test_links_lead_through_all_pages(self, world: World, acme: str) -> None:
        made: list[str] = []
        for _ in range(3):
            given = {"filter": {"job": [NOBODY]}}
            begun = await world.send("POST", "/v1/delivery/resend", acme, given)
            assert (begun["state"], begun["total"]) == ("done", 0)
            made.append(begun["id"])

        first = await world.call("GET", "/v1/bulk?size=2", acme)
        rest = await world.call("GET", next_page(first), acme)

        assert [one["id"] for one in first.json() + rest.json()] == made[::-1]
        assert "link" not in rest.headers

    @pytest.mark.parametrize("query", ["cursor=x", "size=0", "page=1", "status=done"])
    async def test_a_bad_query_is_refused(self, world: World, acme: str, query: str) -> None:
        answer = await world.call("GET", f"/v1/bulk?{query}", acme)

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [query.partition("=")[0]]

    async def test_another_tenants_operation_does_not_exist(self, world: World, acme: str) -> None:
        given = {"filter": {"job": [NOBODY]}}
        begun = await world.send("POST", "/v1/delivery/resend", acme, given)
        globex = await world.tenant("globex")

        for operation_id in (begun["id"], NOBODY, "nope"):
            path = f"/v1/bulk/{operation_id}"
            problem(await world.call("GET", path, globex), 404, "NOT_FOUND")
            problem(await world.call("POST", f"{path}/stop", globex), 404, "NOT_FOUND")
        assert await world.get("/v1/bulk", globex) == []
