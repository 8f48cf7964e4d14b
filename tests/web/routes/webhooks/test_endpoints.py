"""Endpoints: create, change, disable, enable, and who may."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from standardwebhooks import Webhook

from gateway.core.events import EVENT_TYPES
from gateway.core.model import KeyKind
from gateway.web.schemas.webhook_requests import EventName
from tests.web.conftest import NOBODY, World, fields_of, next_page, problem
from tests.web.webhooks import HOOK, delivery, endpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MINE = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
_OPTIONS = {
    "description": "mine",
    "events": ["job.failed", "test.ping"],
    "headers": {"X-Team": "red", "authorization": "Bearer hush"},
    "rateLimit": 10_000,
    "concurrency": 100,
    "schedule": [1, 604_800],
}
_SHOWN = _OPTIONS | {"headers": {"X-Team": "[hidden]", "authorization": "[hidden]"}}
_DEFAULTS: dict[str, Any] = {
    "description": "",
    "events": [],
    "headers": {},
    "rateLimit": None,
    "concurrency": None,
    "schedule": None,
}


def _some(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {name: endpoint[name] for name in _DEFAULTS}


async def test_an_endpoint_is_shown_with_its_secret_once(world: World, acme: str) -> None:
    made = await world.send(
        "POST", "/v1/endpoint", acme, HOOK | {"events": ["job.failed", "job.failed"]}
    )

    secret = made.pop("secret")
    Webhook(secret).sign("id", datetime.now(UTC), "{}")
    read = await world.get(f"/v1/endpoint/{made['id']}", acme)
    assert read == made
    assert await world.get("/v1/endpoint", acme) == [read]
    assert made.pop("createdAt") == made.pop("updatedAt")
    made.pop("id")
    assert made == _DEFAULTS | {
        "url": "https://hooks.example.com/a",
        "events": ["job.failed"],
        "algorithm": "v1",
        "disabled": False,
        "disabledReason": None,
        "failingSince": None,
        "failures": 0,
    }


async def test_an_endpoint_has_options_and_hides_the_values_of_headers(
    world: World, acme: str
) -> None:
    answer = await world.call("POST", "/v1/endpoint", acme, json=HOOK | _OPTIONS)

    assert "hush" not in answer.text
    assert _some(answer.json()) == _SHOWN


@pytest.mark.parametrize(
    "given", [dict.fromkeys([*_DEFAULTS, "algorithm", "secret"]), {}], ids=["null", "left out"]
)
async def test_null_is_the_default(world: World, acme: str, given: dict[str, Any]) -> None:
    made = await world.send("POST", "/v1/endpoint", acme, HOOK | given)

    assert _some(made) == _DEFAULTS
    assert made["algorithm"] == "v1"


async def test_a_secret_may_be_given(world: World, acme: str) -> None:
    made = await world.send("POST", "/v1/endpoint", acme, HOOK | {"secret": _MINE})

    assert made["secret"] == _MINE


async def test_an_endpoint_is_deleted(world: World, acme: str) -> None:
    path = f"/v1/endpoint/{await endpoint(world, acme)}"

    assert await world.send("DELETE", path, acme) == {"id": path.rpartition("/")[2]}

    for method in ("GET", "DELETE", "PATCH"):
        problem(await world.call(method, path, acme), 404, "NOT_FOUND")
    assert await world.get("/v1/endpoint", acme) == []


_ACTS = {
    "GET ": None,
    "PATCH ": {"description": "theirs"},
    "DELETE ": None,
    "POST /test": {},
    "POST /enable": None,
    "POST /disable": {},
    "POST /rotate-secret": {},
    "POST /recover": {"since": "2026-01-01T00:00:00Z"},
    "POST /replay-missing": {"since": "2026-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("act", _ACTS)
async def test_another_tenants_endpoint_does_not_exist(world: World, acme: str, act: str) -> None:
    made = await endpoint(world, acme)
    globex = await world.tenant("globex")
    before = await world.get("/v1/endpoint", acme)
    method, suffix = act.split(" ")

    for endpoint_id in (made, NOBODY, "nope"):
        path = f"/v1/endpoint/{endpoint_id}{suffix}"
        problem(await world.call(method, path, globex, json=_ACTS[act]), 404, "NOT_FOUND")

    assert await world.get("/v1/endpoint", globex) == []
    assert await world.get("/v1/endpoint", acme) == before
    assert world.sender.sent == []


async def test_a_key_that_may_only_read_changes_nothing(world: World, acme: str) -> None:
    made = await endpoint(world, acme)
    before = await world.get("/v1/endpoint", acme)
    key = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"endpoints:read"}))
    calls = {(act.split(" ")[0], f"/v1/endpoint/{made}{act.split(' ')[1]}") for act in _ACTS}
    calls |= {("POST", "/v1/endpoint"), ("POST", "/v1/endpoint/default-secret/rotate")}
    calls |= {("POST", "/v1/delivery/resend"), ("POST", f"/v1/bulk/{NOBODY}/stop")}
    calls |= {("POST", f"/v1/delivery/{NOBODY}/resend"), ("GET", "/v1/endpoint/default-secret")}

    for method, path in calls - {("GET", f"/v1/endpoint/{made}")}:
        problem(await world.call(method, path, key), 403, "FORBIDDEN")

    assert await world.get("/v1/endpoint", key) == before


class TestPatch:
    async def test_what_is_left_out_stays(self, world: World, acme: str) -> None:
        path = f"/v1/endpoint/{await endpoint(world, acme, **_OPTIONS)}"

        for change in ({}, {"description": "x"}, {"description": "mine", "rateLimit": 10_000}):
            assert _some(await world.send("PATCH", path, acme, change)) == _SHOWN | change

    async def test_null_restores_the_default(self, world: World, acme: str) -> None:
        path = f"/v1/endpoint/{await endpoint(world, acme, **_OPTIONS)}"

        for name, default in _DEFAULTS.items():
            assert (await world.send("PATCH", path, acme, {name: None}))[name] == default
        assert _some(await world.get(path, acme)) == _DEFAULTS
        assert world.queue.wakes[-1] == ("deliver", 0.0)

    async def test_headers_are_merged(self, world: World, acme: str) -> None:
        """Null takes one away, and what is shown as hidden stays as it is."""
        path = f"/v1/endpoint/{await endpoint(world, acme, **_OPTIONS)}"
        hidden = "[hidden]"

        changed = await world.send("PATCH", path, acme, {"headers": {"x-a": "1"}})
        assert changed["headers"] == _SHOWN["headers"] | {"x-a": hidden}
        back = changed["headers"] | {"x-a": "2", "AUTHORIZATION": None}
        del back["authorization"]
        changed = await world.send("PATCH", path, acme, {"headers": back})
        assert changed["headers"] == {"X-Team": hidden, "x-a": hidden}
        await world.send("POST", f"{path}/test", acme, {})
        sent = dict(world.sender.sent.pop().headers)
        assert (sent["x-team"], sent["x-a"], "authorization" in sent) == ("red", "2", False)
        assert (await world.send("PATCH", path, acme, {"headers": {}}))["headers"] != {}
        assert (await world.send("PATCH", path, acme, {"headers": None}))["headers"] == {}

    async def test_merged_headers_are_checked_as_a_whole(self, world: World, acme: str) -> None:
        path = f"/v1/endpoint/{await endpoint(world, acme, **_OPTIONS)}"
        more = {"headers": {f"x-{n}": "a" for n in range(19)}}
        body = problem(await world.call("PATCH", path, acme, json=more), 400, "BAD_REQUEST")
        assert fields_of(body) == ["headers"]
        assert (await world.get(path, acme))["headers"] == _SHOWN["headers"]

    async def test_the_new_values_are_sent(self, world: World, acme: str) -> None:
        path = f"/v1/endpoint/{await endpoint(world, acme, **_OPTIONS)}"
        url = "https://hooks.example.com/b"
        await world.send("PATCH", path, acme, {"url": url, "headers": {"X-Team": "blue"}})

        await world.send("POST", f"{path}/test", acme, {})

        sent = world.sender.sent.pop()
        assert sent.url == url
        assert dict(sent.headers)["x-team"] == "blue"
        assert dict(sent.headers)["authorization"] == "Bearer hush"

    @pytest.mark.parametrize("field", ["algorithm", "secret"])
    async def test_secret_and_algorithm_cannot_be_changed_here(
        self, world: World, acme: str, field: str
    ) -> None:
        path = f"/v1/endpoint/{await endpoint(world, acme)}"

        body = problem(
            await world.call("PATCH", path, acme, json={field: "v1a"}), 400, "BAD_REQUEST"
        )

        assert fields_of(body) == [field]
        assert "rotate-secret" in body["detail"]

    async def test_a_new_url_is_checked(self, world: World, acme: str) -> None:
        path = f"/v1/endpoint/{await endpoint(world, acme)}"
        world.sender.refused["https://10.0.0.1/"] = "The URL's host is private."

        answer = await world.call("PATCH", path, acme, json={"url": "https://10.0.0.1/"})

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["url"]
        assert (await world.get(path, acme))["url"] == HOOK["url"]


class TestSwitches:
    async def test_disable_and_enable(self, world: World, acme: str) -> None:
        made = await endpoint(world, acme)
        path = f"/v1/endpoint/{made}"
        for _ in range(3):
            await delivery(world, acme, made)

        off = await world.send("POST", f"{path}/disable", acme, {"reason": "moving house"})
        again = await world.send("POST", f"{path}/disable", acme)
        read = await world.get(path, acme)
        on = await world.send("POST", f"{path}/enable", acme)

        assert (off["disabled"], off["disabledReason"]) == (True, "moving house")
        assert off == again == read
        assert (on["disabled"], on["disabledReason"]) == (False, None)
        assert on.pop("parkedDeliveries") == 3
        assert await world.get(path, acme) == on

    async def test_a_reason_is_not_needed(self, world: World, acme: str) -> None:
        path = f"/v1/endpoint/{await endpoint(world, acme)}"

        off = await world.send("POST", f"{path}/disable", acme)

        assert off["disabledReason"] == "disabled by hand"


def _headers(**headers: Any) -> dict[str, Any]:
    return {"headers": {name.replace("_", "-"): value for name, value in headers.items()}}


# Refused in a new endpoint and in a change, with the field that the error names.
_BAD: list[tuple[dict[str, Any], str]] = [
    ({"url": ""}, "url"),
    ({"url": None}, "url"),
    ({"url": 5}, "url"),
    ({"url": "https://x.example.com/" + "x" * 2048}, "url"),
    ({"events": ["job.exploded"]}, "events[0]"),
    ({"events": "job.failed"}, "events"),
    ({"events": [1]}, "events[0]"),
    ({"events": ["test.ping"] * 51}, "events"),
    ({"description": "x" * 1025}, "description"),
    ({"description": ["x"]}, "description"),
    ({"headers": []}, "headers"),
    ({"headers": "X-A: b"}, "headers"),
    (_headers(x_a=1), "headers.x-a"),
    (_headers(Host="a"), "headers"),
    (_headers(content_length="5"), "headers"),
    (_headers(Transfer_Encoding="chunked"), "headers"),
    (_headers(Webhook_Id="1"), "headers"),
    (_headers(x_a="b\r\nc: d"), "headers"),
    (_headers(x_a="é"), "headers"),
    (_headers(x_a="[hidden]"), "headers.x-a"),
    ({"headers": {"": "a"}}, "headers"),
    ({"headers": {"a b": "c"}}, "headers"),
    ({"headers": {f"x-{n}": "a" for n in range(21)}}, "headers"),
    ({"rateLimit": 0}, "rateLimit"),
    ({"rateLimit": 10_001}, "rateLimit"),
    ({"rateLimit": 1.5}, "rateLimit"),
    ({"rateLimit": "1"}, "rateLimit"),
    ({"rateLimit": True}, "rateLimit"),
    ({"concurrency": 0}, "concurrency"),
    ({"concurrency": 101}, "concurrency"),
    ({"concurrency": 10**400}, "concurrency"),
    ({"schedule": 5}, "schedule"),
    ({"schedule": [0]}, "schedule[0]"),
    ({"schedule": [1, 604_801]}, "schedule[1]"),
    ({"schedule": [1.5]}, "schedule[0]"),
    ({"schedule": [None]}, "schedule[0]"),
    ({"schedule": [1] * 21}, "schedule"),
    ({"color": 1}, "color"),
]
_NEW: list[tuple[dict[str, Any], str]] = [
    (_headers(x_a=None), "headers.x-a"),
    ({"secret": "short"}, "secret"),
    ({"secret": "whsec_" + "A" * 8}, "secret"),
    ({"secret": "whpk_" + "A" * 43 + "="}, "secret"),
    ({"secret": "whsk_" + "A" * 43 + "="}, "secret"),
    ({"algorithm": "v1a", "secret": _MINE}, "secret"),
    ({"secret": 1}, "secret"),
    ({"algorithm": "v2"}, "algorithm"),
]


async def test_a_tenant_has_a_limit_of_endpoints(world: World, acme: str) -> None:
    await world.send(
        "PATCH", f"/admin/v1/tenant/{acme}", world.operator, {"limits": {"maxEndpoints": 3}}
    )
    made = [await endpoint(world, acme) for _ in range(3)]

    refused = problem(await world.call("POST", "/v1/endpoint", acme, json=HOOK), 409, "CONFLICT")
    assert "has 3 endpoints" in refused["detail"]
    assert "maxEndpoints" in refused["detail"]
    first = await world.call("GET", "/v1/endpoint?size=2", acme)
    rest = await world.call("GET", next_page(first), acme)
    assert [one["id"] for one in first.json() + rest.json()] == made
    assert "link" not in rest.headers
    await world.send("DELETE", f"/v1/endpoint/{made[0]}", acme)
    assert await endpoint(world, acme)


async def test_endpoints_are_checked(world: World, acme: str) -> None:
    for fields, named in _BAD + _NEW:
        answer = await world.call("POST", "/v1/endpoint", acme, json=HOOK | fields)
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [named], fields
        assert "MDEyMzQ1" not in answer.text

    answer = await world.call("POST", "/v1/endpoint", acme, json={})
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["url"]
    assert await world.get("/v1/endpoint", acme) == []


async def test_changes_are_checked(world: World, acme: str) -> None:
    path = f"/v1/endpoint/{await endpoint(world, acme, **_OPTIONS)}"
    before = await world.get(path, acme)

    for fields, named in _BAD:
        body = problem(await world.call("PATCH", path, acme, json=fields), 400, "BAD_REQUEST")
        assert fields_of(body) == [named], fields

    assert await world.get(path, acme) == before


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"5", b'"x"', b"{", b"\xff", b"[" * 9000])
async def test_other_bodies_are_refused(world: World, acme: str, body: bytes) -> None:
    path = f"/v1/endpoint/{await endpoint(world, acme)}"
    calls = [("POST", "/v1/endpoint"), ("POST", "/v1/delivery/resend")]
    if body:
        calls += [(act.split(" ")[0], path + act.split(" ")[1]) for act in _ACTS if act[0] == "P"]

    for method, where in calls:
        problem(await world.call(method, where, acme, content=body), 400, "BAD_REQUEST")


_BAD_ACTS: list[tuple[str, dict[str, Any], str]] = [
    ("test", {"type": "job.exploded"}, "type"),
    ("test", {"type": None}, "type"),
    ("test", {"kind": "test.ping"}, "kind"),
    ("enable", {"force": True}, "force"),
    ("disable", {"reason": ""}, "reason"),
    ("disable", {"reason": "x" * 201}, "reason"),
    ("disable", {"reason": 5}, "reason"),
    ("disable", {"why": "x"}, "why"),
]


async def test_bodies_of_other_calls_are_checked(world: World, acme: str) -> None:
    path = f"/v1/endpoint/{await endpoint(world, acme)}"

    for act, fields, named in _BAD_ACTS:
        answer = await world.call("POST", f"{path}/{act}", acme, json=fields)
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [named], fields

    assert not (await world.get(path, acme))["disabled"]


async def test_the_url_is_checked(world: World, acme: str) -> None:
    world.sender.refused["https://169.254.169.254/"] = "the address is link-local"

    answer = await world.call(
        "POST", "/v1/endpoint", acme, json={"url": "https://169.254.169.254/"}
    )

    body = problem(answer, 400, "BAD_REQUEST")
    assert body["errors"] == [{"field": "url", "reason": "the address is link-local"}]


async def test_all_event_types_and_no_others_are_accepted() -> None:
    assert tuple(EventName) == EVENT_TYPES


async def test_a_tenant_has_a_limit_of_tests_under_way(world: World, acme: str) -> None:
    """Receivers that hang take no connections and no requests from others."""
    path, other = f"/v1/endpoint/{await endpoint(world, acme)}/test", await world.tenant("globex")
    theirs = f"/v1/endpoint/{await endpoint(world, other)}/test"
    held, send = asyncio.Event(), world.sender.send
    news: asyncio.Queue[str] = asyncio.Queue()

    async def hang(webhook: Any, within: float | None = None) -> Any:
        news.put_nowait("held")
        await held.wait()
        return await send(webhook)

    client = await world.serve(sender=SimpleNamespace(send=hang, refusal=world.sender.refusal))
    first, world.client = world.client, client
    try:
        asking = [asyncio.create_task(world.call("POST", path, acme, json={})) for _ in range(8)]
        for one in asking:
            one.add_done_callback(lambda _: news.put_nowait("answered"))
        assert Counter([await news.get() for _ in asking]) == {"held": 5, "answered": 3}
        for one in [one for one in asking if one.done()]:
            answer = await one
            assert "5 tests" in problem(answer, 429, "RATE_LIMITED")["detail"]
            assert answer.headers["retry-after"] == "5"
        check = await world.call("POST", path.replace("/test", "/check"), acme)
        problem(check, 429, "RATE_LIMITED")  # checks take the same room
        of_other = asyncio.create_task(world.call("POST", theirs, other, json={}))
        of_other.add_done_callback(lambda _: news.put_nowait("answered"))
        assert await news.get() == "held"
        held.set()
        assert {(await one).status_code for one in [*asking, of_other]} == {200, 429}
        assert (await world.call("POST", path, acme, json={})).status_code == 200
    finally:
        held.set()
        world.client = first


async def test_a_check_tells_each_step_and_needs_the_right_key(world: World, acme: str) -> None:
    to = await endpoint(world, acme)
    found = await world.send("POST", f"/v1/endpoint/{to}/check", acme)

    steps = {one["step"]: one["result"] for one in found["steps"]}
    assert steps == {"dns": "ok", "guard": "ok", "connect": "ok", "tls": "warn", "request": "ok"}
    assert (found["result"], found["status"], found["location"]) == ("warn", 200, None)
    delivery_of = await world.get(f"/v1/delivery/{found['deliveryId']}", acme)
    assert delivery_of["test"] is True
    reader = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"endpoints:read"}))
    problem(await world.call("POST", f"/v1/endpoint/{to}/check", reader), 403, "FORBIDDEN")
    other = await world.tenant("other")
    problem(await world.call("POST", f"/v1/endpoint/{to}/check", other), 404, "NOT_FOUND")
