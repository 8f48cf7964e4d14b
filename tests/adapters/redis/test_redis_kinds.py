"""Wake-ups on every kind of Redis: which can be used, the cause if not, and a failover."""

# ruff: noqa: ASYNC110 - other processes are waited for

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from gateway.adapters.clock import SystemClock, SystemIds
from gateway.adapters.redis.client import LOST, connect
from gateway.adapters.redis.failure_causes import CLUSTER, diagnose
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.tenant_rate_limit import WindowLimiter
from gateway.adapters.wakeups.queue import ArqQueue
from gateway.adapters.wakeups.redis_commands import probe
from gateway.config.redis_url import parse_redis_url
from gateway.embedded.part import free_port
from gateway.settings import InvalidSettingsError
from tests.adapters.own_valkey import until
from tests.adapters.wakeups.test_worker_loop import Runs, new_pool, new_queue, running, woken
from tests.redis_kinds import (
    ACL_RIGHTS,
    EASY_RIGHTS,
    Kind,
    issue,
    redis_server,
    sentinel_lines,
    tls_front,
)

PASSWORD = "p@ss/w:rd#%?"


async def trouble(url: str) -> str | None:
    """Why a server cannot be used."""
    client = connect(url, Redis)
    try:
        await probe(client)
    except LOST as error:
        return await diagnose(error, parse_redis_url(url))
    finally:
        await client.aclose()
    return None


async def works(url: str) -> None:
    """Wake-ups, announcements and rate limits pass."""
    runs, health = Runs(), RedisHealth()
    with capture_logs() as logs:
        async with (
            new_queue(url, health) as queue,
            running(new_pool(url, runs, health=health)) as _,
        ):
            await woken(queue, runs, "submit")
            queue.wake("deliver", after=0.3)
            await until(lambda: runs.count("deliver") > 0)
            assert queue.connected
            limiter = WindowLimiter(url, SystemClock())
            assert (await limiter.hit("acme", 5)).allowed
            await limiter.aclose()
    assert [log for log in logs if log["log_level"] != "info"] == []


async def test_a_password_with_special_characters(tmp_path: Path) -> None:
    async with redis_server(tmp_path / "r", f'requirepass "{PASSWORD}"') as server:
        await works(f"redis://:{quote(PASSWORD, safe='')}@{server.place}/3")
        assert await trouble(f"redis://{server.place}") == "it wants a password"
        wrong = await trouble(f"redis://:wrong@{server.place}")
        assert wrong == "it refuses the user or the password"


async def test_the_documented_rights_are_enough_and_what_is_missing_is_named(
    tmp_path: Path,
) -> None:
    user = f"user gateway on >secret {ACL_RIGHTS}"
    fewer = f"user fewer on >secret {ACL_RIGHTS} -publish"
    keys = f"user keys on >secret {ACL_RIGHTS.replace('~arq:* ', '')}"
    channels = f"user channels on >secret {ACL_RIGHTS.replace('&gateway:* ', '')}"
    easy = f"user easy on >secret {EASY_RIGHTS}"
    async with redis_server(tmp_path / "r", user, easy, fewer, keys, channels) as server:
        await works(f"redis://easy:secret@{server.place}/0")
        await works(f"redis://gateway:secret@{server.place}/0")
        for name, missing in (
            ("fewer", "command publish"),
            ("keys", "keys gateway:* and arq:*"),
            ("channels", "channels gateway:*"),
        ):
            why = await trouble(f"redis://{name}:secret@{server.place}")
            assert why == f"its ACL does not allow the {missing}"


async def test_a_cluster_is_refused_at_once(tmp_path: Path) -> None:
    lines = ("cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-port {free_port()}")
    async with redis_server(tmp_path / "r", *lines) as server:
        url = f"redis://{server.place}"
        assert await trouble(url) == CLUSTER  # no slot is served
        client = connect(url, Redis)
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        async with asyncio.timeout(20):
            while "cluster_state:ok" not in str(await client.execute_command("CLUSTER", "INFO")):
                await asyncio.sleep(0.05)
        await client.set("gateway:x", 1)
        await client.aclose()
        assert await trouble(url) == CLUSTER  # though this one node has all slots
        with pytest.raises(InvalidSettingsError, match="GATEWAY_REDIS_URL: it is a Redis Cluster"):
            await ArqQueue(url, SystemClock(), SystemIds()).__aenter__()


async def test_a_replica_and_a_full_server_are_named(tmp_path: Path) -> None:
    async with redis_server(tmp_path / "r") as server:
        line = f"replicaof 127.0.0.1 {server.port}"
        async with redis_server(tmp_path / "replica", line) as replica:
            assert "may only be read" in str(await trouble(f"redis://{replica.place}"))
    async with redis_server(tmp_path / "full", "maxmemory 1") as full:
        assert await trouble(f"redis://{full.place}") == "it is out of memory (maxmemory)"
    async with redis_server(tmp_path / "crowd", "maxclients 1") as crowd:
        await asyncio.sleep(0.2)  # who looked whether it is up is gone by then
        holder = connect(f"redis://{crowd.place}", Redis)
        async with holder.client() as held:
            await held.ping()
            why = await trouble(f"redis://{crowd.place}")
        await holder.aclose()
        assert why == "it has as many clients as it may have (maxclients)"


async def test_protected_mode_is_named(tmp_path: Path) -> None:
    host = _own_address()
    if host is None:
        pytest.skip("this machine has no address but loopback")
    async with redis_server(tmp_path / "r", bind="0.0.0.0") as server:
        why = await trouble(f"redis://{host}:{server.port}")
    assert str(why).startswith("it is in protected mode")


def _own_address() -> str | None:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(asking.getsockname()[0])


async def test_wrong_names_ports_and_servers_are_explained(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    assert "cannot be resolved" in str(await trouble("redis://nowhere.invalid"))
    nothing = await trouble(f"redis://127.0.0.1:{unused_tcp_port}")
    assert nothing == "nothing listens there"
    missing = await trouble(f"unix://{tmp_path}/none.sock")
    assert missing == "it cannot be reached: No such file or directory"

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    for behave, why in ((greet, "is not Redis"), (hang_up, "hangs up on us without a word")):
        stranger = await asyncio.start_server(behave, "127.0.0.1", 0)
        port = stranger.sockets[0].getsockname()[1]
        assert why in str(await trouble(f"redis://127.0.0.1:{port}"))
        stranger.close()


# --- TLS --------------------------------------------------------------------------------------


async def test_tls_with_a_private_authority(tmp_path: Path) -> None:
    papers = issue(tmp_path / "papers")
    async with (
        redis_server(tmp_path / "r", "requirepass secret") as server,
        tls_front(papers, server.port, wants_client=False) as port,
    ):
        url = f"rediss://:secret@localhost:{port}/1"
        await works(f"{url}?ssl_ca_certs={papers.ca}")
        await works(f"{url}?sslrootcert={papers.ca}")
        await works(f"{url}?ssl_cert_reqs=none")
        strange = issue(tmp_path / "other")
        for options in ("", f"?ssl_ca_certs={strange.ca}"):
            assert "its certificate is not trusted" in str(await trouble(url + options))
        assert await trouble(f"redis://:secret@localhost:{port}") == (
            "it speaks TLS on this port: write rediss:// with two s"
        )
        plain = f"rediss://:secret@{server.place}?ssl_ca_certs={papers.ca}"
        assert await trouble(plain) == (
            "it does not speak TLS on this port: write redis:// with one s"
        )


async def test_a_name_that_is_not_in_the_certificate(tmp_path: Path) -> None:
    papers = issue(tmp_path / "papers", "cache.example.com")
    async with (
        redis_server(tmp_path / "r") as server,
        tls_front(papers, server.port, wants_client=False) as port,
    ):
        url = f"rediss://localhost:{port}?ssl_ca_certs={papers.ca}"
        assert "Hostname mismatch" in str(await trouble(url))
        assert await trouble(f"{url}&ssl_check_hostname=false") is None


async def test_a_certificate_of_our_own_and_its_replacement(tmp_path: Path) -> None:
    papers = issue(tmp_path / "papers")
    async with (
        redis_server(tmp_path / "r") as server,
        tls_front(papers, server.port, wants_client=True) as port,
    ):
        url = f"rediss://localhost:{port}?ssl_ca_certs={papers.ca}"
        assert "it wants a certificate of ours" in str(await trouble(url))
        mine = f"&ssl_certfile={papers.client}&ssl_keyfile={papers.client_key}"
        client = connect(url + mine, Redis)
        await probe(client)
        await client.aclose()
        papers.client.write_text("")  # read anew at the next connection
        with pytest.raises(LOST):
            await probe(client)
        await client.aclose()


# --- Sentinel ---------------------------------------------------------------------------------


async def failed_over(url: str, master: Kind) -> Sequence[object]:
    """Kill the master under way: nothing has to be started again. What was logged."""
    runs, health = Runs(), RedisHealth()
    with capture_logs() as logs:
        async with (
            new_queue(url, health) as queue,
            running(new_pool(url, runs, health=health, sweep_seconds=1)),
        ):
            await woken(queue, runs, "submit")
            await master.end()
            await until(lambda: not queue.connected)
            polled = runs.count("poll")
            await until(lambda: runs.count("poll") > polled)  # without any Redis
            await until(lambda: queue.connected, 30)
            await woken(queue, runs, "deliver")
            limiter = WindowLimiter(url, SystemClock())
            assert (await limiter.hit("acme", 5)).allowed
            await limiter.aclose()
    return [log["log_level"] for log in logs if log["event"].startswith("redis can")]


async def test_a_failover_costs_seconds_and_no_restart(tmp_path: Path) -> None:
    login = ("requirepass secret", "masterauth secret")
    async with redis_server(tmp_path / "a", *login) as master:
        line = f"replicaof 127.0.0.1 {master.port}"
        async with redis_server(tmp_path / "b", *login, line) as replica:
            await until_replicated(f"redis://:secret@{replica.place}")
            lines = sentinel_lines(
                master, "sentinel auth-pass cache secret", "requirepass sentinels"
            )
            async with redis_server(tmp_path / "s", *lines, sentinel=True) as sentinel:
                gone = free_port()  # the first Sentinel does not answer
                places = f"127.0.0.1:{gone},{sentinel.place}"
                base = f"redis+sentinel://:secret@{places}"
                url = f"{base}/cache/2?sentinel_password=sentinels"
                await until_known(url)
                levels = await failed_over(url, master)
                assert levels[0] == "warning"
                assert levels[-1] == "info"
                wanted = await trouble(f"{base}/cache")
                assert wanted == "a Sentinel answers: it wants a password"
                wrong = str(await trouble(f"{base}/other?sentinel_password=sentinels"))
                assert "know no master 'other' that is up" in wrong
    away = str(await trouble(f"redis+sentinel://127.0.0.1:{gone}/cache"))
    assert away == "no Sentinel answers"


async def test_a_server_is_told_from_a_sentinel(tmp_path: Path) -> None:
    async with redis_server(tmp_path / "r") as server:
        url = f"redis+sentinel://{server.place}/cache"
        assert await trouble(url) is not None
        async with redis_server(tmp_path / "s", *sentinel_lines(server), sentinel=True) as sentinel:
            assert "redis+sentinel://" in str(await trouble(f"redis://{sentinel.place}"))


async def until_replicated(url: str) -> None:
    """Wait until a replica follows its master."""
    client = connect(url, Redis)
    while "up" not in str((await client.info("replication"))["master_link_status"]):
        await asyncio.sleep(0.02)
    await client.aclose()


async def until_known(url: str) -> None:
    """Wait until the Sentinel knows master and replica."""
    async with asyncio.timeout(20):
        while await trouble(url) is not None:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)  # it hears of replicas from the master, once a second
