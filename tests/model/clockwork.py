"""Time that passes only when it is told to, for the processes and for Postgres alike."""

import asyncio
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from tests.conftest import run_sql
from tests.fakes import FixedClock

# Statements say now() and mean this one, as its schema comes first; what a column's default calls
# was fixed when the column was made. Chance is taken out as well: claims then take the same rows
# whenever a history is played again.
_SET_UP = (
    "CREATE SCHEMA fake",
    "CREATE TABLE fake.clock (at timestamptz NOT NULL) WITH (fillfactor = 10)",
    "INSERT INTO fake.clock VALUES (now())",
    "CREATE FUNCTION fake.now() RETURNS timestamptz STABLE LANGUAGE sql AS 'TABLE fake.clock'",
    "CREATE FUNCTION fake.random() RETURNS float8 STABLE LANGUAGE sql AS 'SELECT 0.5::float8'",
    "GRANT USAGE ON SCHEMA fake TO gateway_tenant",
    "GRANT SELECT ON fake.clock TO gateway_tenant",
    """
DO $$
DECLARE one record;
BEGIN
  FOR one IN SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_default = 'now()'
  LOOP
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT fake.now()',
      one.table_name, one.column_name);
  END LOOP;
END $$""",
)


def take_time_from_postgres(url: str) -> None:
    """Have a database, and all who connect to it from now on, live by `fake.clock`."""
    name = urlsplit(url).path.removeprefix("/")
    run_sql(url, *_SET_UP, f"ALTER DATABASE {name} SET search_path = fake, public, pg_catalog")


class ProcessClock:
    """The time of one process, whose wall clock is wrong by some seconds."""

    def __init__(self, time: FixedClock, wrong_by: float) -> None:
        self._time = time
        self._wrong_by = timedelta(seconds=wrong_by)
        self.monotonic = time.monotonic
        self.offset = timedelta()

    def set_offset(self, offset: timedelta) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return self._time.now() + self._wrong_by

    async def sleep(self, seconds: float) -> None:
        """Others come first; a pause takes no time here."""
        await asyncio.sleep(0)
