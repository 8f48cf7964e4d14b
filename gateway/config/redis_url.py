"""Parses GATEWAY_REDIS_URL: one server, a Unix socket, or a master that Sentinels know.

    redis://user:password@host:6379/0        rediss:// for TLS
    unix://user:password@/run/redis.sock?db=0
    redis+sentinel://user:password@host1:26379,host2:26379/master/0     rediss+sentinel:// for TLS

Messages never repeat the URL: a misplaced part of it may belong to the password.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv6Address
from typing import Literal, NamedTuple
from urllib.parse import unquote

from typing_extensions import override

Verification = Literal["required", "optional", "none"]

_PORT, _SENTINEL_PORT, _LAST_PORT = 6379, 26379, 65535
_LAST_DATABASE = 1_000_000
_PLAIN, _SENTINEL = ("redis", "rediss", "unix"), ("redis+sentinel", "rediss+sentinel")
_SCHEMES = (*_PLAIN, *_SENTINEL)
_HOST = re.compile(r"(\[[^\[\]]*\]|[\w.-]+)(?::([0-9]*))?")
_ENCODE = "percent-encode what is special in user and password, such as @ as %40"
# The names of GATEWAY_DATABASE_URL are accepted, too.
_ALIASES = {"sslrootcert": "ssl_ca_certs", "sslcert": "ssl_certfile", "sslkey": "ssl_keyfile"}
_TLS_OPTIONS = (
    *("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    *("ssl_cert_reqs", "ssl_check_hostname"),
)
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password", "sentinel_ssl")
_OPTIONS = ("db", *_TLS_OPTIONS, *_SENTINEL_OPTIONS)
_OURS = frozenset(
    {"protocol", "decode_responses", "encoding", "encoding_errors", "max_connections", "timeout"}
    | {"socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_read_size"}
    | {"retry_on_timeout", "health_check_interval", "client_name", "lib_name", "lib_version"}
)
_PLACES = {
    "ssl": "write rediss:// for TLS",
    "username": "write it before the host: redis://user:password@host",
    "password": "write it before the host: redis://user:password@host",
    "host": "write it behind redis://",
    "port": "write it behind the host",
}


class InvalidAddressError(ValueError):
    """The URL cannot be used; the message says why and never repeats it."""


class Server(NamedTuple):
    """One host and port."""

    host: str
    port: int

    @override
    def __str__(self) -> str:
        """The form that URLs use."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS options; without a CA file the authorities of the system are trusted."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: str = ""
    verification: Verification = "required"
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """Make a context from the current content of the files; raises OSError, including SSLError."""
        context = ssl.create_default_context(cafile=self.ca)
        context.check_hostname = self.check_hostname
        context.verify_mode = {
            "required": ssl.CERT_REQUIRED,
            "optional": ssl.CERT_OPTIONAL,
            "none": ssl.CERT_NONE,
        }[self.verification]
        if self.certificate:
            # With None, OpenSSL would ask for the password of an encrypted key at the terminal.
            context.load_cert_chain(self.certificate, self.key, self.key_password)
        return context


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """The servers of Redis and the login; if `master` is set, the servers are Sentinels."""

    servers: tuple[Server, ...]
    socket: str
    master: str
    database: int
    username: str | None
    password: str | None
    tls: Tls | None
    sentinel_username: str | None
    sentinel_password: str | None
    sentinel_tls: Tls | None

    @override
    def __str__(self) -> str:
        """The servers, without user and password."""
        return self.socket or ", ".join(map(str, self.servers))


def parse_redis_url(url: str) -> RedisAddress:
    """Parse a URL and load the certificates that it names; raises InvalidAddressError."""
    scheme, _, rest = url.partition("://")
    _check_form(scheme, rest)
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    if "@" in path or ("@" in query and not userinfo):
        raise InvalidAddressError(f"is not a URL: {_ENCODE}")
    options = _options(query)
    is_sentinel, is_socket, is_tls = scheme in _SENTINEL, scheme == "unix", scheme[:6] == "rediss"
    sentinels_tls = is_sentinel and _flag(options, "sentinel_ssl", default=is_tls)
    _check_use(options, tls=is_tls or sentinels_tls, sentinel=is_sentinel)
    tls = _tls(options) if is_tls or sentinels_tls else None
    master, _, number = path.partition("/") if is_sentinel else ("", "", "" if is_socket else path)
    if is_sentinel and not master:
        raise InvalidAddressError("names no master: redis+sentinel://host1,host2/MASTER/0")
    if is_socket and (hosts or not path):
        raise InvalidAddressError("names no socket: unix:///path/of/the/socket?db=0")
    user, colon, password = userinfo.partition(":")
    return RedisAddress(
        servers=() if is_socket else _servers(hosts, sentinel=is_sentinel),
        socket=f"/{unquote(path)}" if is_socket else "",
        master=unquote(master),
        database=_database(number.rstrip("/"), options),
        username=unquote(user) or None,
        password=unquote(password) if colon else None,
        tls=tls if is_tls else None,
        sentinel_username=options.get("sentinel_username") or None,
        sentinel_password=options.get("sentinel_password") or None,
        sentinel_tls=tls if sentinels_tls else None,
    )


def _check_form(scheme: str, rest: str) -> None:
    if scheme not in _SCHEMES or not rest:
        near = (
            get_close_matches(scheme, _SCHEMES, 1, 0.7) if rest and scheme not in _SCHEMES else []
        )
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise InvalidAddressError(
            f"must start with redis://, rediss://, unix:// or redis+sentinel://{hint}"
        )
    if re.search(r"[\s#\x00-\x1f\x7f]", rest):
        raise InvalidAddressError(f"holds a blank or a #: {_ENCODE}")


def _servers(hosts: str, *, sentinel: bool) -> tuple[Server, ...]:
    if not hosts:
        raise InvalidAddressError("names no host")
    names = hosts.split(",")
    if len(names) > 1 and not sentinel:
        raise InvalidAddressError(
            "names several hosts: write redis+sentinel:// for Sentinels; a Redis Cluster cannot be used"
        )
    return tuple(_server(name, _SENTINEL_PORT if sentinel else _PORT) for name in names)


def _server(text: str, default: int) -> Server:
    found = _HOST.fullmatch(text)
    if found is None:
        raise InvalidAddressError(f"names no host, or a port that is no number: {_ENCODE}")
    host, port = found[1], int(found[2] or default)
    if not 0 < port <= _LAST_PORT:
        raise InvalidAddressError(f"has a port that is not from 1 to {_LAST_PORT}")
    if host.startswith("["):
        try:
            host = str(IPv6Address(host[1:-1]))
        except ValueError:
            raise InvalidAddressError("has brackets without an IPv6 address in them") from None
    return Server(host, port)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        name = _ALIASES.get(name, name)
        if name in _OURS:
            raise InvalidAddressError(f"has the option {name}, which the gateway chooses itself")
        if name in _PLACES:
            raise InvalidAddressError(f"has the option {name}: {_PLACES[name]}")
        if name not in _OPTIONS:
            near = get_close_matches(name, (*_OPTIONS, *_ALIASES), 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_OPTIONS)}"
            raise InvalidAddressError(f"has the unknown option {name!r}: {hint}")
        if name in options:
            raise InvalidAddressError(f"has the option {name} twice")
        options[name] = unquote(value)
    return options


def _check_use(options: Mapping[str, str], *, tls: bool, sentinel: bool) -> None:
    for name in options:
        if name in _TLS_OPTIONS and not tls:
            raise InvalidAddressError(f"has the option {name}, which needs rediss://")
        if name in _SENTINEL_OPTIONS and not sentinel:
            raise InvalidAddressError(f"has the option {name}, which needs redis+sentinel://")


def _database(path: str, options: Mapping[str, str]) -> int:
    number = options.get("db", path) or "0"
    if path and number != path:
        raise InvalidAddressError("names two databases, in its path and as db")
    if not re.fullmatch("[0-9]{1,7}", number) or int(number) > _LAST_DATABASE:
        raise InvalidAddressError("has a database that is no number, such as /0")
    return int(number)


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = options.get(name, "true" if default else "false").lower()
    if text not in ("true", "false"):
        raise InvalidAddressError(f"has the option {name}, which must be true or false")
    return text == "true"


def _tls(options: Mapping[str, str]) -> Tls:
    verification = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if verification not in ("required", "optional", "none"):
        raise InvalidAddressError("has ssl_cert_reqs, which must be required, optional or none")
    checks = _flag(options, "ssl_check_hostname", default=verification != "none")
    if checks and verification == "none":
        raise InvalidAddressError("has ssl_check_hostname=true, which ssl_cert_reqs=none excludes")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise InvalidAddressError("has ssl_keyfile without ssl_certfile")
    tls = Tls(
        ca=options.get("ssl_ca_certs") or None,
        certificate=options.get("ssl_certfile") or None,
        key=options.get("ssl_keyfile") or None,
        key_password=options.get("ssl_password", ""),
        verification=verification,
        check_hostname=checks,
    )
    _try(tls)
    return tls


def _try(tls: Tls) -> None:
    for name, file in (
        ("ssl_ca_certs", tls.ca),
        ("ssl_certfile", tls.certificate),
        ("ssl_keyfile", tls.key),
    ):
        try:
            if file:
                with open(file, "rb"):  # noqa: PTH123 - only to see whether it can be read
                    pass
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise InvalidAddressError(f"{name}: {file} cannot be read: {why}") from None
    try:
        Tls(ca=tls.ca).context()
    except (OSError, ValueError):
        raise InvalidAddressError(f"ssl_ca_certs: {tls.ca} is not a PEM of certificates") from None
    try:
        tls.context()
    except (OSError, ValueError) as error:
        why = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
        raise InvalidAddressError(
            f"ssl_certfile: the certificate and its key cannot be used: {why}"
        ) from None
