"""Receivers that attack: by dripping, flooding, redirecting, by their names, by their TLS."""

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psutil
import pytest

from tests.faults.drills.drill import drill, query, submit_many, until_ended
from tests.faults.harness import odd_receivers
from tests.faults.harness.history import History
from tests.faults.harness.odd_receivers import Authority, Odd, listening
from tests.faults.harness.rig import HOST, Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import Tenant, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Stands in for the public internet: a worker in production may call it, and nothing else.
PUBLIC = "127.0.0.2"
_PRODUCTION: dict[str, Any] = {
    "GATEWAY_ENV": "production",
    "GATEWAY_ALLOW_PRIVATE_CALLBACKS": "false",
    "GATEWAY_CALLBACK_NETWORKS": f"{PUBLIC}/32",
}
_QUICK: dict[str, Any] = {"GATEWAY_DELIVERY_TIMEOUT_SECONDS": "1", "GATEWAY_DELIVERY_DELAYS": "0.5"}
_FLAT_BYTES = 64 * 1024 * 1024

_ATTEMPTS = """
SELECT a.error_class, a.status, length(a.response_body) AS kept, a.detail, d.state
FROM attempt a JOIN delivery d ON d.id = a.delivery_id WHERE d.endpoint_id = $1"""

_INSIDE = {
    "loopback": "127.0.0.1",
    "mapped": "::ffff:127.0.0.1",
    "nat64": "64:ff9b::7f00:1",
    "sixtofour": "2002:7f00:1::",
    "compatible": "::127.0.0.1",
    "unspecified": "0.0.0.0",
    "metadata": "169.254.169.254",
    "azure": "168.63.129.16",
    "private": "10.0.0.1",
    "local6": "fd00:ec2::254",
}


async def test_22_receivers_drip_flood_and_bomb(rig: Rig) -> None:
    odd_receivers.prepare_bomb()
    talks = {
        "drip_body": odd_receivers.drip_body,
        "drip_head": odd_receivers.drip_head,
        "endless_head": odd_receivers.endless_head,
        "endless_body": odd_receivers.endless_body,
        "bomb": odd_receivers.bomb,
    }
    async with (
        odd_receivers.all_listening(**talks) as receivers,
        drill(rig, "22 drip, flood, bomb", links=False, **_QUICK) as history,
    ):
        world, (attacked, other) = history.world, history.world.tenants
        urls = {name: f"http://{HOST}:{one.port}/" for name, one in receivers.items()}
        ids = {name: await world.add_endpoint(attacked, url) for name, url in urls.items()}
        worker = psutil.Process((await world.work()).pid)
        await submit_many(history, 4)
        await until_ended(history, history.entries, 20)
        before = worker.memory_info().rss
        await submit_many(history, 20)
        theirs = [entry for entry in history.entries if entry.tenant is other]
        await until_ended(history, theirs, 20)
        await until(lambda: _is_at_an_end(world, *ids.values()), 40)
        grown = worker.memory_info().rss - before
    print(f"\n22: the worker grew by {grown / 2**20:.1f} MiB")
    assert grown < _FLAT_BYTES
    for name in ("drip_head", "endless_head"):
        tries = await _attempts(world, ids[name])
        assert {one["state"] for one in tries} == {"exhausted"}, name
        assert {one["error_class"] for one in tries} <= {"timeout", "body"}, name
    for name in ("drip_body", "endless_body", "bomb"):
        tries = await _attempts(world, ids[name])
        assert {one["state"] for one in tries} == {"delivered"}, name
        assert all(one["kept"] <= 16 * 1024 for one in tries), name


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_23_redirects_are_not_followed(rig: Rig, status: int) -> None:
    async with (
        listening(odd_receivers.hang) as canary,
        listening(odd_receivers.redirecting(status, f"http://{HOST}:{canary.port}/")) as near,
        listening(
            odd_receivers.redirecting(status, "http://169.254.169.254/latest/meta-data/")
        ) as far,
        drill(rig, f"23 answers {status}", links=False, **_QUICK) as history,
    ):
        world, tenant = history.world, history.world.tenants[0]
        ids = [
            await world.add_endpoint(tenant, f"http://{HOST}:{one.port}/") for one in (near, far)
        ]
        await world.work()
        await history.submit(tenant, run=0.1)
        await until(lambda: _is_at_an_end(world, *ids), 20)
        assert near.connections
        assert far.connections
        assert canary.connections == 0
    for id_ in ids:
        tries = await _attempts(world, id_)
        assert {(one["state"], one["status"]) for one in tries} == {("exhausted", status)}


async def test_24_names_and_addresses_that_lead_inside(rig: Rig) -> None:
    async with _public(rig) as (front, canary, authority), _produced(rig, authority, front) as made:
        history, tenant = made
        world = history.world
        names = {name: f"https://{name}.test:{front.port}" for name in (*_INSIDE, "mixed")}
        rebinding = f"https://rebind.test:{front.port}/hook/{tenant.slug}"
        ids = {name: await world.add_endpoint(tenant, url) for name, url in names.items()}
        turning = await world.add_endpoint(tenant, rebinding)
        for url in _literals(front.port):
            answer = await world.ask("POST", "/v1/endpoint", tenant.key, {"url": url})
            assert answer.status_code == 400, url
            ids[url] = await world.add_endpoint(tenant, f"https://later.test:{front.port}")
            # As if it had got past the door.
            change = "UPDATE endpoint SET url = $2 WHERE id = $1"
            await query(world, change, UUID(ids[url]), url)
        inside = {f"{name}.test": [[address]] for name, address in _INSIDE.items()}
        mixed = {"mixed.test": [[PUBLIC, HOST]], "rebind.test": [[HOST], [PUBLIC]]}
        await world.work(faults={"names": {**inside, **mixed}})
        await history.submit(tenant, run=0.1)
        await until(lambda: _is_at_an_end(world, turning, *ids.values()), 40)
        assert canary.connections == 0
    for name, id_ in ids.items():
        tries = await _attempts(world, id_)
        # Of a name nobody is told whether it leads inside or nowhere.
        kind = "blocked" if name.startswith("https://") else "dns"
        assert {(one["state"], one["error_class"]) for one in tries} == {("exhausted", kind)}, name
        assert not any(HOST in one["detail"] for one in tries)
    tries = await _attempts(world, turning)
    assert sorted((one["state"], one["error_class"]) for one in tries if one["error_class"]) == [
        ("delivered", "dns")
    ] * (len(tries) // 2)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        pytest.param(lambda ca: ca.expired(HOST), "tls", id="expired"),
        pytest.param(lambda ca: ca.good("other.example"), "tls", id="other host"),
        pytest.param(lambda _: odd_receivers.self_signed(HOST), "tls", id="self-signed"),
        pytest.param(lambda ca: ca.old(HOST), "tls", id="TLS 1.0"),
        pytest.param(lambda _: None, "timeout", id="stall"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.MINIMUM_SUPPORTED:DeprecationWarning")
async def test_25_tls_is_broken_then_mended(
    rig: Rig,
    broken: Callable[[Authority], ssl.SSLContext | None],
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    authority = Authority(rig.folder)
    tls = broken(authority)
    to_receiver = odd_receivers.passing_on(HOST, _port(rig.receiver))
    env: dict[str, Any] = {**authority.env, "GATEWAY_DELIVERY_TIMEOUT_SECONDS": "1"}
    async with drill(rig, request.node.name, links=False, **env) as history:
        world, tenant = history.world, history.world.tenants[0]
        async with listening(to_receiver if tls else odd_receivers.hang, tls=tls) as front:
            url = f"https://{HOST}:{front.port}/hook/{tenant.slug}/tls"
            endpoint = await world.add_endpoint(tenant, url)
            await world.work()
            await history.submit(tenant, run=0.1)
            tries = await until(lambda: _attempts(world, endpoint), 20)
            assert tries[0]["error_class"] == kind, tries[0]["detail"]
            assert tries[0]["state"] == "pending"
        async with listening(to_receiver, port=front.port, tls=authority.good(HOST)):
            await until(lambda: _is_at_an_end(world, endpoint), 30)
    assert {one["state"] for one in await _attempts(world, endpoint)} == {"delivered"}


def _literals(port: int) -> list[str]:
    hosts = (
        *("127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0.0.0.0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
        *("169.254.169.254", "168.63.129.16", "[fd00:ec2::254]", f"{PUBLIC}@127.0.0.1"),
    )
    return [f"https://{host}:{port}/" for host in hosts]


@asynccontextmanager
async def _public(rig: Rig) -> AsyncGenerator[tuple[Odd, Odd, Authority]]:
    """The receiver behind TLS at the one address that may be called, and a canary beside it."""
    authority = Authority(rig.folder)
    to_receiver = odd_receivers.passing_on(HOST, _port(rig.receiver))
    tls = authority.good("rebind.test")
    async with (
        listening(to_receiver, host=PUBLIC, tls=tls) as front,
        listening(odd_receivers.hang, port=front.port) as canary,
    ):
        yield front, canary, authority


@asynccontextmanager
async def _produced(
    rig: Rig, authority: Authority, front: Odd
) -> AsyncGenerator[tuple[History, Tenant]]:
    """A drill with the settings of production; to the API all names lead to the public address."""
    env: dict[str, Any] = (
        _PRODUCTION | authority.env | _QUICK | {"GATEWAY_CALLBACK_PORTS": str(front.port)}
    )
    names = (*_INSIDE, "mixed", "rebind", "later")
    faults = {"names": {f"{name}.test": [[PUBLIC]] for name in names}}
    async with drill(rig, "24 SSRF", links=False, tenants=0, faults=faults, **env) as history:
        yield history, await history.world.add_tenant(hook=False)


async def _attempts(world: World, endpoint: str) -> list[Any]:
    return await query(world, _ATTEMPTS, UUID(endpoint))


async def _is_at_an_end(world: World, *endpoints: str) -> bool:
    """Whether each endpoint was owed something, and is owed nothing any more."""
    states = """
    SELECT count(DISTINCT endpoint_id), count(*) FILTER (WHERE state = 'pending')
    FROM delivery WHERE endpoint_id = ANY($1::uuid[])"""
    seen, pending = (await query(world, states, [UUID(one) for one in endpoints]))[0]
    return seen == len(set(endpoints)) and pending == 0


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
