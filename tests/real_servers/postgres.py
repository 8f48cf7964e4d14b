"""Debian's PostgreSQL and PgBouncer: over TLS only, and a plain owner instead of a superuser."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg

from tests.real_servers.process import (
    Certificates,
    folder_of_server,
    free_port,
    issue,
    listens,
    own,
    program,
    run,
    running,
)

PASSWORD = "p@ss:w/rd?#%"
_ESCAPED = "p%40ss%3Aw%2Frd%3F%23%25"
_SAMPLE = Path(__file__).parents[2] / "deploy/pgbouncer/pgbouncer.ini"
# What the sample says, and each PgBouncer of the tests has a place of its own for.
_PLACE = "host=postgres port=5432"
_USERS = "/run/pgbouncer/users.txt"
_HBA = """
local all all scram-sha-256
hostssl all all 127.0.0.1/32 scram-sha-256
hostssl all all ::1/128 scram-sha-256
"""
_CONF = """
listen_addresses = 'localhost'
port = {port}
unix_socket_directories = '{folder}'
ssl = on
ssl_cert_file = '{certificates.cert}'
ssl_key_file = '{certificates.key}'
ssl_ca_file = '{certificates.ca}'
fsync = off
max_connections = 60
"""


@dataclass
class RealPostgres:
    """A server, its superuser `postgres`, and its folder, where its socket is as well."""

    port: int
    folder: Path
    certificates: Certificates
    bin: Path
    process: subprocess.Popen[Any]

    def url(self, database: str = "postgres", user: str = "postgres", **query: str) -> str:
        """An address by libpq's names; without any the certificates are verified to the name."""
        tls = {"sslmode": "verify-full", "sslrootcert": str(self.certificates.ca)}
        parts = urlencode(query or tls)
        return f"postgresql://{user}:{_ESCAPED}@localhost:{self.port}/{database}?{parts}"

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Run statements one by one as the superuser."""
        run_sql(self.url(database), *statements)

    def stop(self) -> None:
        """Shut it down at once, without waiting for clients."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


def run_sql(url: str, *statements: str) -> list[object]:
    """Run statements one by one; the first value of each last row."""

    async def work() -> list[object]:
        connection = await asyncpg.connect(url)
        try:
            return [await connection.fetchval(statement) for statement in statements]
        finally:
            await connection.close()

    return asyncio.run(work())


def debian() -> Path:
    """Where the programs of Debian's newest PostgreSQL are; the test is skipped if they are nowhere."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parts[-2])
    return Path(program("postgres", str(versions[-1] if versions else ""))).parent


@contextmanager
def real_postgres() -> Iterator[RealPostgres]:
    """A server of Debian's PostgreSQL on a free port."""
    place = debian()
    postgres = program("postgres", str(place))
    with folder_of_server() as folder:
        certificates, port = issue(folder), free_port()
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        own(secret)
        data = folder / "data"
        run(
            [
                *(program("initdb", str(place)), "-D", str(data), "-U", "postgres", "-E", "UTF8"),
                *("--pwfile", str(secret), "--auth", "scram-sha-256", "--no-sync", "-N"),
            ],
            folder,
        )
        for name, text in (
            ("pg_hba.conf", _HBA),
            (
                "postgresql.auto.conf",
                _CONF.format(port=port, folder=folder, certificates=certificates),
            ),
        ):
            (data / name).write_text(text)
        ready = [program("pg_isready", str(place)), "-q", "-h", "localhost", "-p", str(port)]

        def is_ready() -> bool:
            return subprocess.run(ready, check=False).returncode == 0

        with running([postgres, "-D", str(data)], folder, is_ready) as process:
            yield RealPostgres(port, folder, certificates, Path(postgres).parent, process)


def make_owner(server: RealPostgres, name: str, *, role: bool = True) -> str:
    """A plain login and a database of its own; the address. With `role` an administrator prepared it."""
    statements = [
        f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'",
        f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0 ENCODING 'UTF8'",
    ]
    if role:
        statements += [
            (
                "DO $$ BEGIN CREATE ROLE gateway_tenant NOLOGIN NOINHERIT;"
                " EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            ),
            f"GRANT gateway_tenant TO {name}",
        ]
    server.sql(*statements)
    return server.url(name, name)


@contextmanager
def pgbouncer(server: RealPostgres, binary: str, database: str, **options: str) -> Iterator[str]:
    """A PgBouncer in transaction mode in front of a database; its address, of the same login."""
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": "6432",
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": _USERS,
        "pool_mode": "transaction",
        "default_pool_size": "4",
        "server_tls_sslmode": "require",
        **options,
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    place = f"{database} = {_PLACE} dbname={database}"
    ini = "\n".join(["[databases]", place, "[pgbouncer]", *lines, ""])
    with _pgbouncer(server, binary, database, ini) as url:
        yield url


@contextmanager
def sample_pgbouncer(server: RealPostgres, binary: str, database: str) -> Iterator[str]:
    """The PgBouncer of deploy/, with another database and other addresses."""
    ini = _SAMPLE.read_text()
    for old, new in (
        (f"gateway = {_PLACE} dbname=gateway", f"{database} = {_PLACE} dbname={database}"),
        ("listen_addr = 0.0.0.0", "listen_addr = 127.0.0.1"),
    ):
        assert old in ini
        ini = ini.replace(old, new)
    with _pgbouncer(server, binary, database, ini) as url:
        yield url


@contextmanager
def _pgbouncer(server: RealPostgres, binary: str, database: str, ini: str) -> Iterator[str]:
    port = free_port()
    with folder_of_server() as folder:
        users, file = folder / "users.txt", folder / "pgbouncer.ini"
        users.write_text(f'"{database}" "{PASSWORD}"\n')
        for old, new in (
            (_PLACE, f"host=127.0.0.1 port={server.port}"),
            ("listen_port = 6432", f"listen_port = {port}"),
            (f"auth_file = {_USERS}", f"auth_file = {users}"),
        ):
            assert old in ini
            ini = ini.replace(old, new)
        file.write_text(ini)
        for path in (users, file):
            own(path)
        with running([binary, str(file)], folder, lambda: listens(port)):
            yield f"postgresql://{database}:{_ESCAPED}@127.0.0.1:{port}/{database}"
