"""A primary of Debian's PostgreSQL and a standby that confirms its commits, to be failed over."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import psutil

from tests.real_servers.postgres import RealPostgres, real_postgres, run_sql
from tests.real_servers.process import run
from tests.real_servers.replication.standby import standby_of

_SECONDS = 30.0
_NAME = "confirms"
_IS_CONFIRMED = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


@dataclass
class Pair:
    """The old primary, and the standby that becomes the new one."""

    old: RealPostgres
    new: RealPostgres

    def url(self, database: str) -> str:
        """The address of both, the old primary first, for the owner of the database."""
        query = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.old.certificates.ca),
            "target_session_attrs": "read-write",
        }
        place = f"localhost:{self.old.port}"
        both = f"{place},localhost:{self.new.port}"
        return self.old.url(database, database, **query).replace(place, both)

    def kill_primary(self) -> None:
        """End the old primary with all of its processes, as the loss of its host does."""
        _signal_all(self.old, signal.SIGKILL)
        self.old.process.wait(_SECONDS)

    def signal_standby(self, number: signal.Signals) -> None:
        """Send all processes of the standby a signal."""
        _signal_all(self.new, number)

    def promote(self) -> None:
        """Make the standby the primary."""
        folder = self.new.folder
        run([str(self.new.bin / "pg_ctl"), "promote", "-D", str(folder / "data")], folder)


@contextmanager
def replicated() -> Iterator[Pair]:
    """A primary whose commits wait for its standby."""
    with ExitStack() as stack:
        primary = stack.enter_context(real_postgres())
        standby = stack.enter_context(standby_of(primary, _NAME))
        # Set after the copy: once promoted, the standby has nobody to wait for.
        names = f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'"
        primary.sql(names, "SELECT pg_reload_conf()")
        _until(lambda: run_sql(primary.url(), _IS_CONFIRMED) == [1])
        yield Pair(primary, standby)


def _signal_all(server: RealPostgres, number: signal.Signals) -> None:
    postmaster = psutil.Process(server.process.pid)
    for process in (postmaster, *postmaster.children()):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end, "the standby confirms no commit"
        time.sleep(0.1)
