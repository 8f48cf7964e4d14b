"""Keeps Postgres and Valkey running for one test session, in a process that no test worker owns.

Started by the first test that asks for a server; ends, and removes all data, once the process of
the session is gone, however it went.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

import psutil

from gateway.embedded import start_postgres, start_valkey

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 1024**3


def make_folder() -> Path:
    """An empty folder for servers, in memory where there is plenty; not under pytest's own folder,
    which pytest closes to all other users.
    """
    fast = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
    return Path(tempfile.mkdtemp(prefix="gateway-test-", dir=_MEMORY if fast else None))


async def _keep(answer: Path, session: psutil.Process) -> None:
    folder = make_folder()
    try:
        async with (
            start_postgres(folder / "postgres") as postgres,
            start_valkey(folder / "redis") as valkey,
        ):
            fresh = answer.with_suffix(".new")
            fresh.write_text(json.dumps({"postgres": postgres.url, "redis": valkey.url}))
            fresh.rename(answer)
            await asyncio.to_thread(session.wait)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(_keep(Path(sys.argv[1]), psutil.Process(int(sys.argv[2]))))
