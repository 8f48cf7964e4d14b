"""SSRF rules: which addresses and which URLs a webhook may be sent to. Pure.

A tenant chooses the URLs, so without these rules it could reach the operator's own network
(server-side request forgery). adapters/webhooks/ssrf_guard.py applies them at registration and to the
concrete address of every new socket. The deny list is our own: the standard library calls NAT64,
6to4, multicast and site-local addresses global. It covers both IANA special-purpose registries, and
for IPv6 everything outside the one block of the public internet.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2048
MAX_HOST = 253
_LAST_PORT = 65535

# Top-level names: RFC 6761, habit, RFC 6762, and ICANN's reservation.
NEVER_PUBLIC = frozenset({"localhost", "localdomain", "local", "internal"})

_METADATA = "cloud metadata"
# The first match names the reason, so narrow blocks stand above the wide ones that hold them.
_DENIED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(block), reason)
    for reason, blocks in (
        (_METADATA, "169.254.169.254 169.254.170.2 169.254.170.23 168.63.129.16 192.0.0.192"),
        (_METADATA, "100.100.100.200 fd00:ec2::254 fd00:ec2::23 fd20:ce::254"),
        ("unspecified", "0.0.0.0/8 ::/128"),
        ("loopback", "127.0.0.0/8 ::1/128"),
        ("private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        ("link-local", "169.254.0.0/16 fe80::/10"),
        ("carrier-grade NAT", "100.64.0.0/10"),
        ("multicast", "224.0.0.0/4 ff00::/8"),
        (
            "documentation",
            "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        ),
        ("benchmarking", "198.18.0.0/15 2001:2::/48"),
        ("tunnel", "192.88.99.0/24 192.52.193.0/24 2001::/32 2002::/16 64:ff9b:1::/48"),
        ("AS112 sink", "192.31.196.0/24 192.175.48.0/24 2620:4f:8000::/48"),
        ("protocol assignment", "192.0.0.0/24 2001::/23 5f00::/16"),
        ("reserved", "240.0.0.0/4 ::/96 100::/64 100:0:0:1::/64"),
    )
    for block in blocks.split()
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# A call to such an address reaches the IPv4 address in its last four bytes.
_IPV4_IN_DISGUISE = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
# Denied by themselves; where the operator allows them, their IPv4 address is checked as well.
_IPV4_AT_THE_END = (*_IPV4_IN_DISGUISE, IPv6Network("64:ff9b:1::/96"), IPv6Network("::/96"))
_LOWEST_COMPATIBLE = IPv6Address("::2")  # below it are the unspecified address and loopback

_PARTS = re.compile(r"([^:/?#]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([^:]*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"https": 443, "http": 80}
# IDNA 2003 and 2008 send these four to different hosts.
_AMBIGUOUS = frozenset("\u00df\u03c2\u200c\u200d")
_URL_CHARACTERS = "/:@!$&'()*+,;=?%-._~[]"


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL whose form is allowed; `url` is its canonical spelling."""

    url: str
    host: str
    port: int
    address: Address | None  # when the host is an address and not a name


def forbidden(address: Address, allowed: Sequence[Network] = ()) -> str | None:
    """The reason why an address is denied; None where it may be called.

    A network in `allowed` overrides the deny list; cloud metadata only if it is that one address. IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4, Teredo) is judged by the IPv4
    address, whatever `allowed` says of the IPv6 address around it.
    """
    if isinstance(address, IPv6Address):
        for inner in _carried(address):
            reason = forbidden(inner, allowed)
            if reason is not None:
                return reason
        if any(address in block for block in _IPV4_IN_DISGUISE):
            return None
    reason = _denied(address)
    holding = [network for network in allowed if address in network]
    if reason == _METADATA:
        holding = [network for network in holding if network.num_addresses == 1]
    return None if holding else reason


def _carried(address: IPv6Address) -> tuple[IPv4Address, ...]:
    if address.teredo is not None:
        return address.teredo
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address >= _LOWEST_COMPATIBLE and any(address in block for block in _IPV4_AT_THE_END):
        return (IPv4Address(address.packed[-4:]),)
    return ()


def _denied(address: Address) -> str | None:
    for network, reason in _DENIED:
        if address in network:
            return reason
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return None


def check_url(
    url: str,
    *,
    ports: Collection[int],
    schemes: Collection[str],
    closed: Collection[str] = (),
) -> CheckedUrl | str:
    """Check the form of a URL; a sentence on what is wrong with it, or its target.

    Empty `ports` allow any port. Hosts at or below a top-level name in `closed` are refused. Names are
    not looked up here.
    """
    if len(url) > MAX_URL:
        return f"The URL is longer than {MAX_URL} characters."
    if "\\" in url or " " in url or not url.isprintable():
        return "The URL contains a space, a backslash or a character that cannot be seen."
    parts = _PARTS.fullmatch(url)
    if parts is None or parts[1].lower() not in schemes:
        return f"The URL must start with {' or '.join(f'{name}://' for name in sorted(schemes))}."
    scheme, authority, path, query, fragment = parts.groups(default="")
    if fragment:
        return "The URL must not have a fragment (#)."
    if "@" in authority:
        return "The URL must not contain a user name or password."
    target = _locate(scheme.lower(), authority, path, query, ports)
    return target if isinstance(target, str) else _unless_closed(target, closed)


def _locate(
    scheme: str, authority: str, path: str, query: str, ports: Collection[int]
) -> CheckedUrl | str:
    place = _AUTHORITY.fullmatch(authority)
    if place is None or not place[1]:
        return "The URL must name a host."
    port = _port(place[2], _DEFAULT_PORTS[scheme])
    if port is None:
        return "The URL's port must be a number from 1 to 65535."
    if ports and port not in ports:
        return f"The URL's port {port} is not one of {', '.join(map(str, sorted(ports)))}."
    host = _host(place[1])
    if isinstance(host, _Misfit):
        return host.reason
    shown = f"[{host}]" if isinstance(host, IPv6Address) else str(host)
    where = shown if port == _DEFAULT_PORTS[scheme] else f"{shown}:{port}"
    rest = quote((path or "/") + query, safe=_URL_CHARACTERS)
    address = None if isinstance(host, str) else host
    return CheckedUrl(f"{scheme}://{where}{rest}", str(host), port, address)


def _unless_closed(target: CheckedUrl, closed: Collection[str]) -> CheckedUrl | str:
    top = target.host.rpartition(".")[2]
    if top not in closed:
        return target
    return f"The URL's host is a name of {top!r}, which is never public; give a public name."


def _port(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    port = int(text) if _PORT.fullmatch(text) else 0
    return port if 0 < port <= _LAST_PORT else None


@dataclass(frozen=True, slots=True)
class _Misfit:
    reason: str


def _host(text: str) -> str | Address | _Misfit:
    if text.startswith("["):
        return _literal(text[1:-1])
    if len(text) > MAX_HOST + 1:
        return _Misfit(f"The URL's host is longer than {MAX_HOST} characters.")
    name = _ascii(text)
    if name is None:
        return _Misfit("The URL's host is not a valid international name; write its xn-- form.")
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        return _Misfit("The URL's host is not a valid host name.")
    # The system's resolver reads 127.1, 0x7f.1 and 2130706433 as addresses; we read only one form.
    return _dotted_quad(name) if _NUMBER.fullmatch(labels[-1]) else name


def _literal(text: str) -> IPv6Address | _Misfit:
    try:
        address = IPv6Address(text)
    except ValueError:
        return _Misfit("The URL's host is not a valid IPv6 address.")
    if address.scope_id is not None:
        return _Misfit("The URL's IPv6 address must not have a zone (%).")
    return address


def _dotted_quad(text: str) -> Address | _Misfit:
    try:
        return ip_address(text)
    except ValueError:
        return _Misfit("The URL's host is a number; write an IPv4 address as a.b.c.d in decimal.")


def _ascii(host: str) -> str | None:
    if host.isascii():
        return host
    if _AMBIGUOUS.intersection(host):
        return None
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
