"""The doctor: each fault is a finding with advice, and none hides the others."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import __version__
from gateway.adapters.oidc.provider import OidcProvider, ProviderClient
from gateway.core.crypto.cipher import Cipher, Secret
from gateway.core.diagnosis.findings import DoctorFinding, Level
from gateway.flows.admin.doctor import diagnose, examine
from gateway.flows.admin.doctor_gateway import RUNBOOKS
from gateway.flows.deliver.endpoint_health import REASONS
from gateway.flows.deps import Deps
from gateway.flows.health import status
from gateway.flows.health.heartbeat import Heart
from gateway.flows.process.read_replica import Replica
from gateway.ports import Busy, Denied, Unknown, UpstreamProblem
from gateway.store.database import open_database
from gateway.store.processes import Identity
from gateway.store.work import sweeps
from tests.flows.database_faults import older_schema, without_database
from tests.flows.world import World
from tests.identity_provider import provider_on_loopback

NO = Denied(401, UpstreamProblem("", "", "no"))
SUBJECTS = [
    *("postgres", "postgres", "time-outs", "postgres", "clock", "schema", "disk", "disk"),
    *("tables", "transactions", "master keys"),
    *("processes", "queues", "endpoints", "upstream"),
]


async def examined(world: World | Deps) -> list[DoctorFinding]:
    deps = world.deps if isinstance(world, World) else world
    return [finding async for finding in diagnose(deps)]


async def alive(world: World) -> None:
    who = Identity(world.deps.ids.uuid(), "worker", "host", 1, "0.1.0")
    assert await Heart(world.deps, who).beat()


def wrong(findings: list[DoctorFinding]) -> list[tuple[str, Level, str]]:
    found = [one for one in findings if one.level is not Level.OK]
    assert all(one.advice for one in found)
    return [(one.subject, one.level, one.text) for one in found]


async def test_a_gateway_in_order(world: World):
    await alive(world)
    await world.tenant()
    found = await examined(world)
    assert wrong(found) == []
    assert [one.subject for one in found if one.subject != "partitions"] == SUBJECTS
    texts = [one.text for one in found]
    assert any(text.startswith("They open all of 2 secrets: ") for text in texts)
    assert f"Alive: no API process, 1 worker of version {__version__}." in texts
    assert found[-1].text.endswith("accepts the credentials of 1 of 1 tenants that were tried.")


async def test_without_a_worker(world: World):
    [(subject, level, text)] = wrong(await examined(world))
    assert (subject, level) == ("processes", Level.ERROR)
    assert "No worker" in text


async def test_a_missing_master_key_and_one_that_is_needed_still(world: World):
    await alive(world)
    await world.tenant()
    lost = world.other_process(cipher=Cipher([b"x" * 32]))
    errors = wrong(await examined(lost))
    assert [(subject, level) for subject, level, _ in errors] == [
        ("master keys", Level.ERROR),
        ("upstream", Level.ERROR),
    ]
    assert "which seals 2 secrets" in errors[0][2]
    older = world.other_process(cipher=Cipher([b"x" * 32, bytes(32)]))
    assert wrong(await examined(older)) == [
        ("master keys", Level.WARNING, "Some secrets are sealed with an older key.")
    ]


@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [
        (NO, Level.WARNING, "refuses the credential of acme: HTTP 401"),
        (Busy("HTTP 503"), Level.ERROR, "gives no usable answer: HTTP 503"),
        (Unknown("time-out"), Level.ERROR, "gives no usable answer: time-out"),
        (Busy("too many (429)", limited=True), Level.WARNING, "gives no usable answer: too many"),
    ],
)
async def test_what_the_upstream_answers(world: World, answer: object, level: Level, words: str):
    await alive(world)
    await world.tenant("acme")
    await world.tenant("other")
    world.upstream.script["application"].append(answer)
    found = await examined(world)
    [(subject, seen, text)] = wrong(found)
    assert (subject, seen) == ("upstream", level)
    assert words in text
    assert found[-1].text.endswith("accepts the credentials of 1 of 2 tenants that were tried.")


@pytest.mark.parametrize(("answer", "level"), [(NO, Level.OK), (Busy("refused"), Level.ERROR)])
async def test_an_upstream_without_any_credential(world: World, answer: object, level: Level):
    await alive(world)
    world.upstream.script["application"].append(answer)
    last = (await examined(world))[-1]
    assert (last.subject, last.level) == ("upstream", level)
    assert world.deps.upstream_url in last.text


async def test_jobs_that_are_held_back_and_endpoints_that_fail(world: World):
    await alive(world)
    tenant = await world.tenant(hook="https://hooks.example.com/a")
    await world.accept(tenant)
    await world.run("UPDATE tenant SET suspended_at = now()")
    await world.run("UPDATE endpoint SET failing_since = now() - interval '4 days', failures = 900")
    found = wrong(await examined(world))
    assert [(subject, level) for subject, level, _ in found] == [
        ("queues", Level.WARNING),
        ("endpoints", Level.WARNING),
    ]
    assert found[0][2] == "1 rows in the queue accepted are held back: suspended."
    assert found[1][2].startswith("1 endpoints have failed")
    await world.run("UPDATE endpoint SET disabled_at = now(), disabled_reason = $1", REASONS[1])
    assert wrong(await examined(world))[1][2].startswith("1 endpoints were disabled")


async def test_a_tenant_with_as_many_jobs_waiting_as_it_may_have(world: World):
    await alive(world)
    await world.accept(await world.tenant("acme"), 2)
    await world.run("UPDATE tenant SET max_queued = 3")
    assert wrong(await examined(world)) == []
    await world.run("UPDATE tenant SET max_queued = 2")
    [(subject, level, text)] = wrong(await examined(world))
    assert (subject, level) == ("queues", Level.WARNING)
    assert text.startswith("The queue of acme is full: 2 of 2 jobs wait")


async def test_a_process_that_cannot_use_redis(world: World):
    world.queue.connected = False
    await alive(world)
    [(subject, level, text)] = wrong(await examined(world))
    assert (subject, level) == ("processes", Level.WARNING)
    assert text == "The worker on host (pid 1) cannot use Redis."


async def test_processes_are_counted_by_version(world: World):
    for kind, version in (
        ("api", "0.1.0"),
        ("api", "0.1.0"),
        ("api", "0.2.0"),
        ("worker", "0.1.0"),
    ):
        who = Identity(world.deps.ids.uuid(), kind, "host", 1, version)
        assert await Heart(world.deps, who).beat()
    alive_ones = next(one.text for one in await examined(world) if one.subject == "processes")
    assert alive_ones == (
        "Alive: 2 API processes of version 0.1.0, 1 API process of version 0.2.0, "
        "1 worker of version 0.1.0."
    )


async def test_who_keeps_the_sweep_from_its_lock(world: World):
    await alive(world)
    await world.run("UPDATE beacon SET swept_at = now() - interval '1 minute'")
    [(_, _, late)] = wrong(await examined(world))
    assert late.startswith("The last sweep was 60 s ago")
    async with world.deps.db.begin() as tx:
        assert await sweeps.lead(tx)
        found = wrong(await examined(world))
    assert [subject for subject, _, _ in found] == ["processes", "processes"]
    assert "has held the lock of the sweep" in found[1][2]
    await world.run("UPDATE beacon SET swept_at = NULL")


async def test_a_write_that_fails(world: World, database_url: str):
    await alive(world)
    name = await world.value("SELECT current_database()")
    await world.rows(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = open_database(database_url, pool=2, name="tests")
    try:
        found = wrong(await examined(world.other_process(db=database)))
    finally:
        await database.close()
        await world.rows(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert [(subject, level) for subject, level, _ in found] == [("disk", Level.ERROR)]
    assert found[0][2].startswith("A write fails: read-only (")


def test_each_fault_of_processes_and_queues_has_its_runbook():
    source = Path(status.__file__).read_text()
    codes = set(re.findall(r'Finding\(\s*"([A-Z_]+)"', source))
    of_servers = {"DATABASE", "REDIS_AWAY", "FEED_LAGS"}
    assert codes - of_servers | {"API_STALE", "WORKER_STALE"} == set(RUNBOOKS)
    folder = Path(__file__).parents[3] / "docs/runbooks"
    assert all((folder / f"gateway-{page}.md").is_file() for page in RUNBOOKS.values())


async def test_a_check_that_does_not_end_and_one_with_a_defect_keep_what_they_found(world: World):
    async def stall(_: Deps) -> AsyncIterator[DoctorFinding]:
        yield DoctorFinding("first", Level.OK, "found")
        await asyncio.sleep(60)

    async def fail(_: Deps) -> AsyncIterator[DoctorFinding]:
        yield DoctorFinding("first", Level.OK, "found")
        raise LookupError("one line\nanother")

    for check, words in ((stall, "no answer within 0.1 s."), (fail, "LookupError: one line")):
        first, last = await examine(world.deps, "part", check, 0.1)
        assert first.text == "found"
        assert (last.subject, last.level) == ("part", Level.ERROR)
        assert last.text == f"Could not be checked: {words}"


async def test_a_schema_that_is_behind(world: World):
    await alive(world)
    async with older_schema(world):
        found = wrong(await examined(world))
    assert found[0][:2] == ("postgres", Level.ERROR)
    assert "schema behind" in found[0][2]


async def test_without_postgres_each_check_says_so(world: World):
    async with without_database(world.deps) as lonely:
        found = wrong(await examined(lonely))
    assert [subject for subject, _, _ in found] == [
        *("postgres", "postgres", "disk", "tables", "master keys", "processes")
    ]
    assert all(level is Level.ERROR for _, level, _ in found)
    assert "database away" in found[0][2]


async def test_a_replica_that_is_away_is_named(world: World):
    database = open_database("postgresql://u@127.0.0.1:1/d", pool=1, name="test")
    replica = Replica(database, world.deps.db, world.clock, 5.0)
    found = await examined(replace(world.deps, replica=replica))
    (one,) = [finding for finding in found if finding.subject == "read replica"]
    assert one.level is Level.WARNING
    assert "127.0.0.1:1 is not used: connection refused" in one.text
    await database.close()


async def test_the_provider_that_staff_sign_in_with(world: World):
    with provider_on_loopback() as answering:
        client = ProviderClient(
            issuer=answering.issuer,
            client_id="gateway",
            client_secret=Secret("hush"),
            scopes="openid",
            redirect_uri="https://gateway/console/oidc/callback",
            left_uri="https://gateway/console/sign-in",
            name="Example",
        )
        provider = OidcProvider(client, world.deps.clock, user_agent="test")
        deps = replace(world.deps, identity_provider=provider)
        (good,) = [one for one in await examined(deps) if one.subject == "sign-in"]
        answering.metadata = {"issuer": "https://other.example"}
        (bad,) = [one for one in await examined(deps) if one.subject == "sign-in"]
        await provider.close()
    assert good.level is Level.OK
    assert bad.level is Level.WARNING
    assert "GATEWAY_OIDC_ISSUER must be that, letter by letter" in bad.text
