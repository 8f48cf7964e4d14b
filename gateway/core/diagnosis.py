"""What `gateway doctor` says of the facts that it measured: a level, a sentence, advice. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

_LEAST_VERSION = 150_000
_FULL = 0.9
_WRAPAROUND = 1_500_000_000
# Dead rows count as bloat when there are many of them, and many for each live one.
_DEAD_ROWS = 20_000
_DEAD_SHARE = 0.5
_HELD_SECONDS = 30.0
_CLOCK_SECONDS = 1.0
_SLOW_SECONDS = 0.05


class Level(IntEnum):
    """How serious a finding is; the worst one decides the exit status."""

    OK = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One result of a check: what it is about, what was found, and what to do about it."""

    subject: str
    level: Level
    text: str
    advice: str = ""


class ServerFacts(NamedTuple):
    """A Postgres server as one session sees it; `frozen_age` is in transactions."""

    version: int
    login: str
    is_encrypted: bool
    protocol: str | None
    is_replica: bool
    connections: int
    most_connections: int
    size: int
    frozen_age: int
    has_autovacuum: bool


class TableFacts(NamedTuple):
    """A table of the gateway: its size in bytes, and its rows as autovacuum counts them."""

    name: str
    size: int
    rows: int
    dead: int


class OpenTransaction(NamedTuple):
    """A transaction that holds the event feed back; `gid` is that of a prepared one.

    `seconds` is None if the login may not see how long the session of another login has it open.
    """

    pid: int | None
    gid: str | None
    database: str
    login: str
    application: str
    state: str
    seconds: float | None


def judge_server(facts: ServerFacts, *, is_local: bool) -> Iterator[DoctorFinding]:
    """The server itself: version, encryption, room, transaction ids."""
    major, minor = divmod(facts.version, 10_000)
    name = f"Postgres {major}.{minor}, {size_text(facts.size)}, as {facts.login}"
    yield DoctorFinding("postgres", Level.OK, name)
    if facts.version < _LEAST_VERSION:
        yield _wrong(
            "postgres", f"Postgres {major} is too old.", "Upgrade it: 15 or newer is needed."
        )
    if facts.is_replica:
        yield _wrong(
            "postgres",
            "The server is a standby, which takes no changes.",
            "Name all servers in GATEWAY_DATABASE_URL: the gateway finds the primary.",
        )
    if facts.is_encrypted:
        yield DoctorFinding("postgres", Level.OK, f"The connection is encrypted: {facts.protocol}.")
    elif not is_local:
        yield _doubtful(
            "postgres",
            "The connection is not encrypted.",
            "Add sslmode=verify-full and sslrootcert to GATEWAY_DATABASE_URL.",
        )
    yield from _judge_room(facts)


def _judge_room(facts: ServerFacts) -> Iterator[DoctorFinding]:
    if facts.connections >= _FULL * facts.most_connections:
        yield _doubtful(
            "postgres",
            f"{facts.connections} of {facts.most_connections} connections are in use.",
            "Raise max_connections, lower GATEWAY_DATABASE_POOL, or put PgBouncer in front.",
        )
    if facts.frozen_age > _WRAPAROUND:
        yield _wrong(
            "postgres",
            f"The oldest row is {facts.frozen_age:,} transactions old; the server stops at 2 billion.",
            "Run VACUUM (FREEZE) now, and find out what keeps autovacuum from it.",
        )
    if not facts.has_autovacuum:
        yield _doubtful(
            "postgres", "autovacuum is off, so tables only grow.", "Set autovacuum = on."
        )


def judge_guards(
    wanted: Mapping[str, str], found: Mapping[str, str], *, is_pooled: bool
) -> Iterator[DoctorFinding]:
    """The time-outs and planner settings that each transaction must have in force."""
    way = "set in each transaction, behind a pooler" if is_pooled else "set by the session"
    missing = {name: found.get(name, "") for name in wanted if found.get(name) != wanted[name]}
    if not missing:
        yield DoctorFinding("time-outs", Level.OK, f"All are in force, {way}.")
    for name, value in missing.items():
        yield _wrong(
            "time-outs",
            f"{name} is {value or 'unset'} and not {wanted[name]}.",
            "Something between the gateway and Postgres changes settings of sessions: look at the pooler.",
        )


def judge_replica(place: str, fault: str, lag: float | None) -> DoctorFinding:
    """The read replica: why it is not used, empty if it is, and its lag."""
    if not fault:
        text = f"{place} is a standby of the primary, {lag or 0.0:.1f} s behind."
        return DoctorFinding("read replica", Level.OK, text)
    return _doubtful(
        "read replica",
        f"{place} is not used: {fault}. The primary serves all reads.",
        "Check GATEWAY_READ_DATABASE_URL and the replication of that server.",
    )


def judge_tables(
    tables: Sequence[TableFacts], broken_indexes: Sequence[str]
) -> Iterator[DoctorFinding]:
    """Sizes, bloat, and indexes that an interrupted CREATE INDEX CONCURRENTLY left invalid."""
    largest = sorted(tables, key=lambda one: one.size, reverse=True)[:3]
    sizes = ", ".join(f"{one.name} {size_text(one.size)}" for one in largest)
    yield DoctorFinding("tables", Level.OK, f"The largest: {sizes}.")
    for one in tables:
        if one.dead > max(_DEAD_ROWS, _DEAD_SHARE * one.rows):
            yield _doubtful(
                "tables",
                f"{one.name} has {one.dead:,} dead rows and {one.rows:,} live ones.",
                "End old transactions, then let autovacuum work: see the finding on transactions.",
            )
    for name in broken_indexes:
        yield _wrong(
            "tables", f"The index {name} is invalid.", f"REINDEX INDEX CONCURRENTLY {name};"
        )


def judge_transactions(open_for_long: Sequence[OpenTransaction]) -> Iterator[DoctorFinding]:
    """Transactions of anybody on the server that hold back the event feed and vacuum."""
    held = [(one, one.seconds or 0.0) for one in open_for_long]
    held = [(one, seconds) for one, seconds in held if seconds >= _HELD_SECONDS]
    hidden = sum(one.seconds is None for one in open_for_long)
    if hidden:
        text = f"{hidden} of other logins are open; this login may not see for how long."
        yield DoctorFinding("transactions", Level.OK, f"{text} The role pg_read_all_stats may.")
    elif not held:
        yield DoctorFinding("transactions", Level.OK, "None has held the event feed for long.")
    for one, seconds in held:
        if one.gid is not None:
            text, advice = f"The prepared transaction {one.gid}", f"ROLLBACK PREPARED '{one.gid}';"
        else:
            text, advice = f"Session {one.pid}", f"SELECT pg_terminate_backend({one.pid});"
        application = f", application {one.application}" if one.application else ""
        yield _doubtful(
            "transactions",
            f"{text} of {one.login} in database {one.database}{application} has been open for "
            f"{seconds:.0f} s: the event feed shows nothing newer.",
            f"End it in the program that opened it, or, if that is safe: {advice}",
        )


def judge_clock(ahead: float) -> DoctorFinding:
    """The clock of this host against that of Postgres, in seconds."""
    if abs(ahead) <= _CLOCK_SECONDS:
        return DoctorFinding("clock", Level.OK, "The clock of this host agrees with Postgres's.")
    way = "ahead of" if ahead > 0 else "behind"
    return _doubtful(
        "clock",
        f"The clock of this host is {abs(ahead):.1f} s {way} Postgres's.",
        "Set up NTP. The gateway goes by Postgres's clock meanwhile.",
    )


def judge_latency(subject: str, seconds: float) -> DoctorFinding:
    """The shortest of several round trips to a server."""
    text = f"A round trip takes {seconds * 1000:.1f} ms."
    if seconds <= _SLOW_SECONDS:
        return DoctorFinding(subject, Level.OK, text)
    return _doubtful(subject, text, "Run it nearer to the gateway: each job needs several.")


def size_text(count: int) -> str:
    """A number of bytes for people."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:  # noqa: PLR2004 - the step between decimal units
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}"


def _wrong(subject: str, text: str, advice: str) -> DoctorFinding:
    return DoctorFinding(subject, Level.ERROR, text, advice)


def _doubtful(subject: str, text: str, advice: str) -> DoctorFinding:
    return DoctorFinding(subject, Level.WARNING, text, advice)
