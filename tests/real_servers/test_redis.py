"""Debian's Redis: over TLS with a private authority, with an ACL user, behind Sentinels, as a Cluster."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.adapters.redis.client import connect
from gateway.adapters.redis.failure_causes import CLUSTER
from tests.adapters.redis.test_redis_kinds import (
    failed_over,
    trouble,
    until_known,
    until_replicated,
    works,
)
from tests.cli.commands import bare_environment, run, settings_for
from tests.real_servers.process import program
from tests.redis_kinds import ACL_RIGHTS, Papers, issue, redis_server, sentinel_lines

_SECONDS = 60


@pytest.fixture
def redis() -> str:
    return program("redis-server")


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return issue(tmp_path / "papers")


def tls_lines(papers: Papers, *, clients: str = "no") -> tuple[str, ...]:
    return (
        f"tls-cert-file {papers.server}",
        f"tls-key-file {papers.server}",
        f"tls-ca-cert-file {papers.ca}",
        f"tls-auth-clients {clients}",
        "tls-replication yes",
    )


async def test_tls_a_private_authority_and_an_acl_user(
    tmp_path: Path, redis: str, papers: Papers
) -> None:
    user = f"user gateway on >p@ss/word {ACL_RIGHTS}"
    lines = (*tls_lines(papers), user, "user default off")
    async with redis_server(tmp_path / "r", *lines, program=redis, tls=True) as server:
        base = f"rediss://gateway:p%40ss%2Fword@localhost:{server.port}/1"
        await works(f"{base}?ssl_ca_certs={papers.ca}")
        assert "its certificate is not trusted" in str(await trouble(base))
        wrong = f"rediss://gateway:wrong@localhost:{server.port}?ssl_ca_certs={papers.ca}"
        assert await trouble(wrong) == "it refuses the user or the password"
        plain = f"redis://gateway:p%40ss%2Fword@localhost:{server.port}"
        assert await trouble(plain) == "it speaks TLS on this port: write rediss:// with two s"


async def test_a_certificate_of_ours(tmp_path: Path, redis: str, papers: Papers) -> None:
    lines = tls_lines(papers, clients="yes")
    async with redis_server(tmp_path / "r", *lines, program=redis, tls=True) as server:
        url = f"rediss://localhost:{server.port}?ssl_ca_certs={papers.ca}"
        assert "it wants a certificate of ours" in str(await trouble(url))
        await works(f"{url}&ssl_certfile={papers.client}&ssl_keyfile={papers.client_key}")


async def test_sentinels_over_tls_and_a_failover(
    tmp_path: Path, redis: str, papers: Papers
) -> None:
    login = ("requirepass secret", "masterauth secret", *tls_lines(papers))
    async with redis_server(tmp_path / "a", *login, program=redis, tls=True) as master:
        line = f"replicaof 127.0.0.1 {master.port}"
        async with redis_server(tmp_path / "b", *login, line, program=redis, tls=True) as replica:
            await until_replicated(f"rediss://:secret@{replica.place}?ssl_ca_certs={papers.ca}")
            lines = (
                *sentinel_lines(master, "sentinel auth-pass cache secret"),
                *tls_lines(papers),
            )
            async with redis_server(
                tmp_path / "s", *lines, program=redis, tls=True, sentinel=True
            ) as sentinel:
                url = f"rediss+sentinel://:secret@{sentinel.place}/cache"
                url += f"?ssl_ca_certs={papers.ca}"
                await until_known(url)
                levels = await failed_over(url, master)
                assert (levels[0], levels[-1]) == ("warning", "info")


async def test_a_cluster_stops_every_process_at_its_start(
    tmp_path: Path, redis: str, unused_tcp_port: int
) -> None:
    lines = (
        "cluster-enabled yes",
        "cluster-config-file nodes.conf",
        f"cluster-port {unused_tcp_port}",
    )
    async with redis_server(tmp_path / "r", *lines, program=redis) as server:
        client = connect(f"redis://{server.place}", Redis)
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        await client.aclose()
        nowhere = f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none"
        for number in ("", "/3"):
            env = settings_for(nowhere, f"redis://{server.place}{number}")
            for command in ("serve", "worker"):
                ended = run(command, env={**env, "GATEWAY_PORT": "0"})
                assert ended.returncode == 2
                assert f"Error: GATEWAY_REDIS_URL: {CLUSTER}" in ended.stderr
            tried = run("config", "validate", "--connect", env=env)
            assert tried.returncode == 7
            assert f"redis        FAILED  {server.place}: {CLUSTER}" in tried.stdout


async def test_a_worker_names_the_cause_once_and_its_end_once(
    tmp_path: Path, redis: str, database_url: str
) -> None:
    log = tmp_path / "log"
    async with redis_server(tmp_path / "r", "requirepass secret", program=redis) as server:
        env = settings_for(database_url, f"redis://:wrong@{server.place}")
        with log.open("wb") as output:
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "worker"),
                env={**bare_environment(), **env, "GATEWAY_DRAIN_SECONDS": "1"},
                stderr=output,
            )
        try:
            await _until(log, "redis cannot be used")
            admin = connect(f"redis://:secret@{server.place}", Redis)
            await admin.config_set("requirepass", "wrong")
            await admin.aclose()
            await _until(log, "redis can be used again")
        finally:
            worker.terminate()
            await worker.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [(one["level"], one.get("cause")) for one in lines if one["event"].startswith("redis c")]
    assert told == [("warning", "it refuses the user or the password"), ("info", None)]
    assert {one.get("redis") for one in lines if "redis" in one} == {server.place}


async def _until(log: Path, text: str) -> None:
    async with asyncio.timeout(_SECONDS):
        while text not in log.read_text():  # noqa: ASYNC110, ASYNC240 - another process
            await asyncio.sleep(0.05)
