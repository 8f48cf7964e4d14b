"""Debian's PostgreSQL in place of the embedded one, where it is installed."""

import os
from pathlib import Path

from gateway.embedded.account import open_parents, server_account
from gateway.embedded.folder import stored_secret
from gateway.embedded.part import run_tool

_ENV = {"LC_ALL": "C", "TZ": "UTC"}


def debian_postgres() -> Path | None:
    """The folder of the newest one's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    return found[-1] if found else None


async def create_data(programs: Path, folder: Path) -> None:
    """Make its data in the folder, with the password that the embedded server would have."""
    data, account = folder / "data", server_account(folder / "data")
    stored_secret(folder / "password")
    data.mkdir(mode=0o700)
    if account is not None:
        open_parents(data)
        for path in (data, folder / "password"):
            os.chown(path, account.uid, account.gid)
    await run_tool(
        str(programs / "initdb"),
        *("--pgdata", str(data), "--username", "postgres", "--encoding", "UTF8", "--no-locale"),
        *("--pwfile", str(folder / "password"), "--auth", "scram-sha-256", "--no-sync"),
        env=_ENV,
        account=account,
    )
