"""A streaming standby of one of the tests' servers, made by pg_basebackup."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real_servers.postgres import PASSWORD, RealPostgres
from tests.real_servers.process import folder_of_server, free_port, run, running

# `all` in pg_hba.conf does not include replication.
_HBA = "\nlocal replication postgres scram-sha-256\n"


@contextmanager
def standby_of(
    server: RealPostgres, name: str = "standby", **options: str
) -> Iterator[RealPostgres]:
    """A hot standby that streams from a server; the primary knows it under `name`.

    `options` are settings of its own. `synchronous_standby_names` of the primary is left to the test.
    """
    hba = server.folder / "data" / "pg_hba.conf"
    if _HBA not in hba.read_text():
        hba.write_text(hba.read_text() + _HBA)
        server.sql("SELECT pg_reload_conf()")
    with folder_of_server() as folder:
        data, port = folder / "data", free_port()
        source = (
            f"host={server.folder} port={server.port} user=postgres application_name={name}"
            f" password='{PASSWORD}'"
        )
        run(
            [
                *(str(server.bin / "pg_basebackup"), "-D", str(data), "-d", source),
                *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
            ],
            folder,
        )
        own = {"port": str(port), "unix_socket_directories": f"'{folder}'", **options}
        with (data / "postgresql.auto.conf").open("a") as conf:
            conf.writelines(f"{setting} = {value}\n" for setting, value in own.items())

        ready = [str(server.bin / "pg_isready"), "-q", "-h", "localhost", "-p", str(port)]

        def is_ready() -> bool:
            return subprocess.run(ready, check=False).returncode == 0

        with running([str(server.bin / "postgres"), "-D", str(data)], folder, is_ready) as process:
            yield RealPostgres(port, folder, server.certificates, server.bin, process)
