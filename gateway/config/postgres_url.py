"""Parses and checks GATEWAY_DATABASE_URL, a URL with libpq's parameters."""

import re
import ssl
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from typing_extensions import override

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
DEFAULT_PORT = 5432
_LARGEST_PORT = 65_535
_LONGEST_CONNECT = 60
_ESCAPED = "in a user or password, write % as %25, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23"
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
# Parameters that the driver reads like libpq.
_DRIVER = frozenset(
    {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("passfile", "service", "krbsrvname", "gsslib", "target_session_attrs"),
    }
)
_PLACE = frozenset({"host", "port", "user", "password", "dbname"})
_SERVER = frozenset({"application_name", "fallback_application_name", "options"})
_CHOICES: Mapping[str, Sequence[str]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "gsslib": ("gssapi", "sspi"),
    "target_session_attrs": ("any", "primary", "read-write"),
    # Features of libpq that the driver lacks: only the values that do not need them are allowed.
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "sslsni": ("1",),
    "sslcompression": ("0",),
    "client_encoding": ("utf8", "UTF8", "UTF-8", "utf-8", "auto"),
}
_WHY_NOT = {
    "target_session_attrs": "; the gateway writes, so a standby cannot be used",
    "channel_binding": "; the driver lacks it: use sslmode=verify-full to verify the server",
}
_KNOWN = frozenset({*_DRIVER, *_PLACE, *_SERVER, *_CHOICES, "connect_timeout"})
# Names that SQLAlchemy or asyncpg use for the same parameters.
_ALIASES = {
    "ssl": "sslmode",
    "database": "dbname",
    "username": "user",
    "timeout": "connect_timeout",
}


class BadUrlError(ValueError):
    """The URL cannot be used; the message says why and never contains the password."""


class Host(NamedTuple):
    """One server; a name that begins with a slash is the directory of a Unix socket."""

    name: str
    port: int

    @override
    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A parsed URL; for None or empty parts libpq's environment variables apply.

    `driver` holds the parameters for the driver, by libpq's names. `server` is set in the session.
    """

    hosts: tuple[Host, ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    connect_timeout: float | None = None
    driver: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    server: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def place(self) -> str:
        """The servers as text for logs and messages."""
        return ", ".join(map(str, self.hosts)) or "the server of PGHOST or the local socket"


def read_url(text: str) -> PostgresUrl:
    """Parse a URL; raises BadUrlError."""
    parts = _split(text)
    listed = [_host(unquote(one)) for one in parts.netloc.rpartition("@")[2].split(",") if one]
    given = _query(parts.query)
    user, password = _login(parts)
    driver = {name: given[name][-1] for name in sorted(_DRIVER & given.keys())}
    _check_files(driver)
    server = {name: given[name][-1] for name in sorted(_SERVER & given.keys())}
    fallback = server.pop("fallback_application_name", None)
    if fallback:
        server.setdefault("application_name", fallback)
    return PostgresUrl(
        hosts=_hosts(listed, given),
        user=user or _last(given, "user"),
        password=password or _last(given, "password"),
        database=unquote(parts.path.removeprefix("/")) or _last(given, "dbname"),
        connect_timeout=_seconds(given),
        driver=driver,
        server=server,
    )


def read_url_of_standby(text: str) -> PostgresUrl:
    """Parse the URL of a read replica; raises BadUrlError."""
    found = read_url(text)
    if len(found.hosts) > 1:
        raise BadUrlError("names several hosts; name one standby, because its lag is measured")
    if found.driver.get("target_session_attrs", "any") != "any":
        raise BadUrlError("the parameter target_session_attrs excludes standbys; leave it out")
    return found


def _split(text: str) -> SplitResult:
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES or not rest:
        raise BadUrlError("must start with postgresql:// and name a server, user or database")
    if any(one.isspace() or not one.isprintable() for one in text):
        raise BadUrlError("holds a space or a control character; write it percent-encoded")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadUrlError("has a host in brackets that is no IPv6 address, as in [::1]") from None
    if parts.fragment or text.endswith("#"):
        raise BadUrlError(f"holds a bare #; {_ESCAPED}")
    if parts.netloc.count("@") > 1:
        raise BadUrlError(f"holds more than one @; {_ESCAPED}")
    if _BARE_PERCENT.search(text):
        raise BadUrlError(f"holds a % that encodes nothing; {_ESCAPED}")
    return parts


def _login(parts: SplitResult) -> tuple[str, str]:
    login, at, _ = parts.netloc.rpartition("@")
    user, _, password = login.partition(":") if at else ("", "", "")
    return unquote(user), unquote(password)


def _query(query: str) -> Mapping[str, Sequence[str]]:
    """Return the values by libpq's names, each known and allowed."""
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in parse_qsl(query, keep_blank_values=True):
        given[_ALIASES.get(name, name)].append(value)
    for name, values in given.items():
        if not _NAME.fullmatch(name):  # it may be a part of a password
            raise BadUrlError(f"has a parameter without a name; {_ESCAPED}")
        if name not in _KNOWN:
            near = get_close_matches(name, sorted(_KNOWN), 1)
            hint = f"; is {near[0]} meant?" if near else f"; known are {', '.join(sorted(_KNOWN))}"
            raise BadUrlError(f"the parameter {name} is not known{hint}")
        choices = _CHOICES.get(name)
        if choices and values[-1] not in choices:
            reason = (
                f"must be one of {', '.join(choices)}" if choices[1:] else f"must be {choices[0]}"
            )
            raise BadUrlError(f"the parameter {name} {reason}{_WHY_NOT.get(name, '')}")
    return given


def _last(given: Mapping[str, Sequence[str]], name: str) -> str | None:
    return given[name][-1] if name in given else None


def _seconds(given: Mapping[str, Sequence[str]]) -> float | None:
    text = _last(given, "connect_timeout")
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST_CONNECT:
        raise BadUrlError(
            f"the parameter connect_timeout must be a whole number of seconds, 1 to {_LONGEST_CONNECT}"
        )
    return float(text)


# --- Hosts --------------------------------------------------------------------------------------


def _hosts(
    found: list[tuple[str, int | None]], given: Mapping[str, Sequence[str]]
) -> tuple[Host, ...]:
    """Return the hosts: separated by commas, or in repeated `host`, each with an optional port."""
    named = [one for value in given.get("host", ()) for one in value.split(",") if one]
    ports = [one for value in given.get("port", ()) for one in value.split(",")]
    found = found or [_host(one) for one in named]
    if not ports:
        return tuple(Host(name, port or DEFAULT_PORT) for name, port in found)
    numbers = [_port(one) for one in ports]
    if len(numbers) == 1:
        numbers *= max(len(found), 1)
    if found and len(numbers) != len(found):
        raise BadUrlError(f"names {len(found)} hosts and {len(numbers)} ports")
    found = found or [("localhost", None) for _ in numbers]
    return tuple(
        Host(name, port or number) for (name, port), number in zip(found, numbers, strict=True)
    )


def _host(text: str) -> tuple[str, int | None]:
    if text.startswith("/"):
        return text, None
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadUrlError("has a host in brackets that is no IPv6 address, as in [::1]")
        return name, _port(rest[1:]) if rest[1:] else None
    if text.count(":") > 1:
        return text, None  # an IPv6 address in the query needs no brackets
    name, _, port = text.partition(":")
    return name or "localhost", _port(port) if port else None


def _port(text: str) -> int:
    # The message omits the text: it may be a part of a password that was not encoded.
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= _LARGEST_PORT:
        raise BadUrlError(f"has a port that is no number from 1 to {_LARGEST_PORT}; {_ESCAPED}")
    return int(text)


# --- Certificates -------------------------------------------------------------------------------


def _check_files(driver: Mapping[str, str]) -> None:
    """Check that the TLS files can be read, so that a fault shows at the start, not at a request."""
    for name in _FILES:
        path = driver.get(name, "")
        if name == "sslrootcert" and path == "system":
            if driver.get("sslmode", "verify-full") != "verify-full":
                raise BadUrlError("the parameter sslrootcert=system needs sslmode=verify-full")
        elif path and not Path(path).is_file():
            raise BadUrlError(f"the parameter {name} names {path}, which is no file")
    if driver.get("sslnegotiation") == "direct" and driver.get("sslmode", "") not in (
        *("require", "verify-ca", "verify-full"),
    ):
        raise BadUrlError("the parameter sslnegotiation=direct needs sslmode=require or stronger")
    if driver.get("sslmode") in ("verify-ca", "verify-full") and not driver.get("sslrootcert"):
        return  # libpq's ~/.postgresql/root.crt or PGSSLROOTCERT
    _load("sslrootcert", driver)
    _load("sslcert", driver)


def _load(name: str, driver: Mapping[str, str]) -> None:
    path = driver.get(name, "")
    if not path or path == "system":
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if name == "sslrootcert":
            context.load_verify_locations(cafile=path)
        else:
            key = driver.get("sslkey") or None
            context.load_cert_chain(path, key, lambda: driver.get("sslpassword", ""))
    except (OSError, ValueError) as error:
        with_key = " and sslkey" if name == "sslcert" else ""
        reason = getattr(error, "reason", None) or error
        raise BadUrlError(f"the parameter {name}{with_key} cannot be used: {reason}") from None
