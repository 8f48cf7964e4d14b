"""What the doctor says of a Postgres server: version, encryption, room, time-outs, clock, schema."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.core.diagnosis.findings import DoctorFinding, doubtful, fine, size_text, wrong

_LEAST_VERSION = 150_000
_FULL = 0.9
_WRAPAROUND = 1_500_000_000
_CLOCK_SECONDS = 1.0
_SLOW_SECONDS = 0.05

_AWAY_ADVICE = "Check GATEWAY_DATABASE_URL, the server, and the network between."
# By the name of the cause, see store/connection/failure_causes.py.
_ADVICE = {
    "connection refused": "Start Postgres, or correct host and port in GATEWAY_DATABASE_URL.",
    "wrong password": "Correct the password in GATEWAY_DATABASE_URL, or set it in Postgres again.",
    "no such database": "Correct the database in GATEWAY_DATABASE_URL, or create it.",
    "too many connections": (
        "End sessions that nobody needs, raise max_connections, lower GATEWAY_DATABASE_POOL, or put "
        "PgBouncer in front."
    ),
    "the server or a pooler refuses": "Look at the limits and the log of the pooler, or of the server.",
    "read-only": (
        "Name all servers in GATEWAY_DATABASE_URL if this one is a standby; otherwise find out who set "
        "default_transaction_read_only, perhaps because the disk fills."
    ),
    "disk full": "Free space on the disk of Postgres: the message of the server names the file.",
    "the login may not take on the role of tenants": (
        "As an administrator of Postgres: GRANT gateway_tenant TO the login of the gateway."
    ),
}


class ServerFacts(NamedTuple):
    """A Postgres server as one session sees it; `frozen_age` is in transactions.

    `sync_standbys` names the standbys that a commit waits for, and `standbys` is how many follow.
    """

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
    sync_standbys: str
    standbys: int


def away_advice(cause: str) -> str:
    """Say what to do about a Postgres that cannot be used, by the name of the cause."""
    return _ADVICE.get(cause, _AWAY_ADVICE)


def judge_server(facts: ServerFacts, *, is_local: bool) -> Iterator[DoctorFinding]:
    """Judge the server itself: version, encryption, standbys, room, transaction ids."""
    major, minor = divmod(facts.version, 10_000)
    name = f"Postgres {major}.{minor}, {size_text(facts.size)}, as {facts.login}"
    yield fine("postgres", name)
    if facts.version < _LEAST_VERSION:
        yield wrong(
            "postgres", f"Postgres {major} is too old.", "Upgrade it: 15 or newer is needed."
        )
    if facts.is_encrypted:
        yield fine("postgres", f"The connection is encrypted: {facts.protocol}.")
    elif not is_local:
        yield doubtful(
            "postgres",
            "The connection is not encrypted.",
            "Add sslmode=verify-full and sslrootcert to GATEWAY_DATABASE_URL.",
        )
    yield from _judge_standbys(facts)
    yield from _judge_room(facts)


def _judge_standbys(facts: ServerFacts) -> Iterator[DoctorFinding]:
    if facts.is_replica:
        yield wrong(
            "postgres",
            "The server is a standby, which takes no changes.",
            "Name all servers in GATEWAY_DATABASE_URL: the gateway finds the primary.",
        )
    elif facts.sync_standbys and not facts.standbys:
        yield wrong(
            "postgres",
            f"No standby is connected, and each commit waits for one: synchronous_standby_names is "
            f"{facts.sync_standbys}.",
            "Start the standby. Without synchronous_standby_names commits go on, on one server only.",
        )


def _judge_room(facts: ServerFacts) -> Iterator[DoctorFinding]:
    if facts.connections >= _FULL * facts.most_connections:
        yield doubtful(
            "postgres",
            f"{facts.connections} of {facts.most_connections} connections are in use.",
            "Raise max_connections, lower GATEWAY_DATABASE_POOL, or put PgBouncer in front.",
        )
    if facts.frozen_age > _WRAPAROUND:
        yield wrong(
            "postgres",
            f"The oldest row is {facts.frozen_age:,} transactions old; the server stops at 2 billion.",
            "Run VACUUM (FREEZE) now, and find out what keeps autovacuum from it.",
        )
    if not facts.has_autovacuum:
        yield doubtful(
            "postgres", "autovacuum is off, so tables only grow.", "Set autovacuum = on."
        )


def judge_schema(present: str | None, needed: str) -> Iterator[DoctorFinding]:
    """Judge the revision of the schema; readiness tells of one that is behind."""
    if present == needed:
        yield fine("schema", f"It is at {present}, the newest revision of this version.")
    elif present is not None and present > needed:
        yield doubtful(
            "schema",
            f"It is at {present}, and the newest revision of this version is {needed}: a newer version "
            "has migrated it.",
            "End the update: run the newer version in every process.",
        )


def judge_guards(
    wanted: Mapping[str, str], found: Mapping[str, str], *, is_pooled: bool
) -> Iterator[DoctorFinding]:
    """Judge the time-outs and planner settings that each transaction must have in force."""
    way = "set in each transaction, behind a pooler" if is_pooled else "set by the session"
    missing = {name: found.get(name, "") for name in wanted if found.get(name) != wanted[name]}
    if not missing:
        yield fine("time-outs", f"All are in force, {way}.")
    for name, value in missing.items():
        yield wrong(
            "time-outs",
            f"{name} is {value or 'unset'} and not {wanted[name]}.",
            "Something between the gateway and Postgres changes settings of sessions: look at the pooler.",
        )


def judge_clock(ahead: float) -> DoctorFinding:
    """Judge the clock of this host against that of Postgres, in seconds."""
    if abs(ahead) <= _CLOCK_SECONDS:
        return fine("clock", "The clock of this host agrees with Postgres's.")
    way = "ahead of" if ahead > 0 else "behind"
    return doubtful(
        "clock",
        f"The clock of this host is {abs(ahead):.1f} s {way} Postgres's.",
        "Set up NTP. The gateway goes by Postgres's clock meanwhile.",
    )


def judge_latency(subject: str, seconds: float) -> DoctorFinding:
    """Judge the shortest of several round trips to a server."""
    text = f"A round trip takes {seconds * 1000:.1f} ms."
    if seconds <= _SLOW_SECONDS:
        return fine(subject, text)
    return doubtful(subject, text, "Run it nearer to the gateway: each job needs several.")


def judge_replica(place: str, fault: str, lag: float | None) -> DoctorFinding:
    """The read replica: why it is not used, empty if it is, and its lag."""
    if not fault:
        return fine(
            "read replica", f"{place} is a standby of the primary, {lag or 0.0:.1f} s behind."
        )
    return doubtful(
        "read replica",
        f"{place} is not used: {fault}. The primary serves all reads.",
        "Check GATEWAY_READ_DATABASE_URL and the replication of that server.",
    )
