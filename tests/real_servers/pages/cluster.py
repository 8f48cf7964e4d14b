"""A cluster of Debian's PostgreSQL, as an administrator has it: folders, pg_ctl, a plain owner."""

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.embedded import Part, Postgres
from tests.real_servers.postgres import debian
from tests.real_servers.process import as_account, folder_of_server, free_port, program, run

OWNER = "gateway"
_CONF = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
wal_level = logical
fsync = off
max_connections = 100
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server that commands start and stop; everybody on this machine may log in."""

    folder: Path
    bin: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What the account `postgres` has set on its host."""
        return {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "LC_ALL": "C",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGDATA": str(self.folder / "data"),
            "PGLOG": str(self.folder / "log"),
            "ARCHIVE": str(self.folder / "archive"),
            "BACKUP": str(self.folder / "backup"),
        }

    def url(self, database: str = OWNER, login: str = OWNER) -> str:
        """The address of a database for a login."""
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def postgres(self) -> Postgres:
        """It as a rig of the drills knows a server; the rig does not start it."""

        async def is_ready(_: int) -> bool:
            return True

        part = Part(
            name="debian", argv=(), folder=self.folder, log=self.folder / "log", is_ready=is_ready
        )
        return Postgres(part, self.port, "unused")

    async def shell(self, script: str, *, as_server: bool, **more: str) -> tuple[int, str]:
        """Run a script in bash, as the servers' account or as ourselves; status and output."""
        environment = {**self.environment, **more}
        return await asyncio.to_thread(_bash, script, environment, as_server, self.folder)


def _bash(
    script: str, environment: Mapping[str, str], as_server: bool, folder: Path
) -> tuple[int, str]:
    done = subprocess.run(
        ("bash", "-c", script),
        **(as_account() if as_server else {}),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


@asynccontextmanager
async def start_cluster() -> AsyncGenerator[Cluster]:
    """A new cluster that runs, with nothing in it; stopped and removed with the block."""
    place = debian()
    with folder_of_server() as folder:
        made = Cluster(folder, place, free_port())
        initdb = program("initdb", str(place))
        data = made.environment["PGDATA"]
        arguments = ("-D", data, "-U", "postgres", "-E", "UTF8", "-A", "trust", "-N")
        await asyncio.to_thread(run, (initdb, *arguments), folder)
        (Path(data) / "postgresql.auto.conf").write_text(_CONF.format(folder=folder))
        status, said = await made.shell(
            'mkdir "$ARCHIVE"; pg_ctl start -w -s -l "$PGLOG" -o "-p $PGPORT"', as_server=True
        )
        assert status == 0, said
        try:
            yield made
        finally:
            await made.shell("pg_ctl stop -s -m immediate", as_server=True)
