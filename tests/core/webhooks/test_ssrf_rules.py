import ipaddress
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.webhooks.ssrf_rules import (
    MAX_URL,
    NEVER_PUBLIC,
    CheckedUrl,
    Network,
    check_url,
    forbidden,
)

# Both IANA special-purpose registries, row by row; 64:ff9b::/96 and ::ffff:0:0/96 stand apart.
REGISTRY_4 = """
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24
192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24
198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32
"""
REGISTRY_6 = """
::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128
2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28
2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10
"""
# Not in those registries, and not for webhooks either.
BESIDES = """
224.0.0.0/4 ff00::/8 fec0::/10 ::/96 ::ffff:0:0:0/96 4000::/3 8000::/3 0100::/8 0200::/7
"""
METADATA = """
169.254.169.254 169.254.170.2 169.254.170.23 168.63.129.16 192.0.0.192 100.100.100.200
fd00:ec2::254 fd00:ec2::23 fd20:ce::254
"""
DENIED = [ip_network(text) for text in (REGISTRY_4 + REGISTRY_6 + BESIDES + METADATA).split()]
PUBLIC = [
    ip_network(text)
    for text in [
        "1.0.0.0/8",
        "8.8.8.0/24",
        "9.0.0.0/8",
        "11.0.0.0/8",
        "93.184.0.0/16",
        "100.0.0.0/10",
        "172.32.0.0/11",
        "192.0.1.0/24",
        "198.20.0.0/14",
        "223.0.0.0/8",
        "2001:4860::/32",
        "2400::/12",
        "2606:4700::/32",
        "2a00::/12",
    ]
]


def inside(networks: list[Network]) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=str(network)))


def at_the_end(prefix: str, inner: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address(prefix)) + int(inner))


def in_6to4(inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0x2002 << 112 | int(inner) << 80 | 1)


def in_teredo(inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | int(inner) ^ 0xFFFFFFFF)


def by_teredo(server: IPv4Address) -> IPv6Address:
    return IPv6Address(0x20010000 << 96 | int(server) << 64 | 0x08080808 ^ 0xFFFFFFFF)


CARRIERS: list[Callable[[IPv4Address], IPv6Address]] = [
    in_6to4,
    in_teredo,
    by_teredo,
    *(partial(at_the_end, prefix) for prefix in ("::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::")),
]


@pytest.mark.parametrize("network", DENIED, ids=str)
def test_every_special_block_is_denied_from_end_to_end(network: Network) -> None:
    assert forbidden(network[0]) is not None
    assert forbidden(network[-1]) is not None


@given(inside(DENIED))
def test_nothing_in_a_special_block_may_be_called(address: IPv4Address | IPv6Address) -> None:
    assert forbidden(address) is not None


@given(inside(PUBLIC))
def test_public_addresses_may_be_called(address: IPv4Address | IPv6Address) -> None:
    assert forbidden(address) is None


@given(st.ip_addresses())
def test_it_is_stricter_than_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    if not mapped and (not address.is_global or address.is_multicast or address.is_reserved):
        nat64 = address in ip_network("64:ff9b::/96")
        assert nat64 or forbidden(address) is not None


@given(st.ip_addresses(v=4) | inside([n for n in DENIED if n.version == 4]))
def test_ipv4_within_ipv6_is_judged_by_the_ipv4_address(inner: IPv4Address) -> None:
    assert forbidden(at_the_end("::ffff:0:0", inner)) == forbidden(inner)
    assert forbidden(at_the_end("64:ff9b::", inner)) == forbidden(inner)


@given(inside([n for n in DENIED if n.version == 4 and n[0] not in ip_network("0.0.0.0/8")]))
def test_a_carrier_that_the_operator_allows_opens_nothing_that_it_carries(
    inner: IPv4Address,
) -> None:
    for carry in CARRIERS:
        allowed = [ip_network(carry(inner)), IPv6Network("::/0")]
        assert forbidden(carry(inner), allowed) == forbidden(inner)
        assert forbidden(carry(inner), [*allowed, ip_network(inner)]) is None


@pytest.mark.parametrize("carry", CARRIERS)
def test_a_carrier_of_a_public_address_is_the_operators_choice(
    carry: Callable[[IPv4Address], IPv6Address],
) -> None:
    address = carry(IPv4Address("93.184.216.34"))
    assert forbidden(address, [ip_network(address)]) is None


@given(inside([n for n in DENIED if n.version == 4 or n.subnet_of(IPv6Network("fc00::/7"))]))
def test_what_the_operator_allows_may_be_called(address: IPv4Address | IPv6Address) -> None:
    assert forbidden(address, [ip_network(address)]) is None


@pytest.mark.parametrize("text", METADATA.split())
def test_cloud_metadata_is_opened_by_its_own_address_alone(text: str) -> None:
    address = ip_address(text)
    around = ip_network(address).supernet(1)
    assert forbidden(address, [around, around.supernet(8)]) == "cloud metadata"
    assert forbidden(address, [ip_network(address)]) is None


@pytest.mark.parametrize("text", ["::", "::1"])
def test_the_first_two_addresses_carry_nothing(text: str) -> None:
    assert forbidden(ip_address(text)) in ("unspecified", "loopback")
    assert forbidden(ip_address(text), [ip_network(text)]) is None


def test_an_allowed_network_opens_nothing_else() -> None:
    allowed = [IPv4Network("10.1.0.0/16"), IPv6Network("fd12::/16")]
    assert forbidden(ip_address("10.1.2.3"), allowed) is None
    assert forbidden(ip_address("::ffff:10.1.2.3"), allowed) is None
    assert forbidden(ip_address("10.2.2.3"), allowed) == "private"
    assert forbidden(ip_address("fd13::1"), allowed) == "private"
    assert forbidden(ip_address("fd00:ec2::254"), allowed) == "cloud metadata"


def check(url: str, ports: frozenset[int] = frozenset()) -> CheckedUrl | str:
    return check_url(url, ports=ports, schemes=("https",))


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A?b=%20", "https://example.com/A?b=%20"),
        ("https://example.com.:8443?x", "https://example.com:8443/?x"),
        ("https://b\u00fccher.example/\u00e4", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://\uff45xample.com/", "https://example.com/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700:0::1]:444/", "https://[2606:4700::1]:444/"),
        ("https://a_b.example/{id}", "https://a_b.example/%7Bid%7D"),
        ("https://1.2.3.example/", "https://1.2.3.example/"),
    ],
)
def test_a_good_url_has_one_spelling(url: str, canonical: str) -> None:
    target = check(url)
    assert isinstance(target, CheckedUrl)
    assert target.url == canonical
    assert check(canonical) == target


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("//example.com/", "https://"),
        ("example.com", "https://"),
        ("", "https://"),
        ("https:example.com", "https://"),
        ("https:///path", "host"),
        ("https://", "host"),
        ("https://:443/", "host"),
        ("https://example.com/#top", "fragment"),
        ("https://me@example.com/", "user name"),
        ("https://me:pw@example.com/", "user name"),
        ("https://example.com\\@evil.example/", "backslash"),
        ("https://exam ple.com/", "space"),
        ("https://example.com/\n", "cannot be seen"),
        ("https://example.com/\x00", "cannot be seen"),
        ("https://example.com/\u202e", "cannot be seen"),
        ("https://example.com/\ud800", "cannot be seen"),
        ("https://example.com:/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:0443/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:\u0664\u0664\u0663/", "port"),
        ("https://example.com:443:443/", "host"),
        ("https://127.1/", "a.b.c.d"),
        ("https://2130706433/", "a.b.c.d"),
        ("https://0x7f.1/", "a.b.c.d"),
        ("https://0177.0.0.1/", "a.b.c.d"),
        ("https://0x7f000001/", "a.b.c.d"),
        ("https://1.2.3.4.5/", "a.b.c.d"),
        ("https://example.0x/", "a.b.c.d"),
        ("https://[::1%25eth0]/", "IPv6"),
        ("https://[fe80::1%eth0]/", "zone"),
        ("https://[nonsense]/", "IPv6"),
        ("https://[::1/", "host"),
        ("https://a..example/", "host name"),
        ("https://example.com../", "host name"),
        ("https://-a.example/", "host name"),
        ("https://a%2eexample/", "host name"),
        ("https://" + "a" * 64 + ".example/", "host name"),
        ("https://" + "a." * 127 + "example/", "longer than 253"),
        ("https://stra\u00dfe.example/", "xn--"),
        ("https://\u3002\u3002.example/", "xn--"),
        ("https://example.com/" + "a" * MAX_URL, "longer than 2048"),
    ],
)
def test_a_bad_url_is_refused_in_words(url: str, reason: str) -> None:
    refusal = check(url)
    assert isinstance(refusal, str)
    assert reason in refusal


def test_only_named_ports_and_schemes_are_taken() -> None:
    assert isinstance(check("https://example.com/", frozenset({443})), CheckedUrl)
    assert check("https://example.com:22/", frozenset({443, 8443})) == (
        "The URL's port 22 is not one of 443, 8443."
    )
    target = check_url("http://example.com/", ports=(), schemes=("https", "http"))
    assert isinstance(target, CheckedUrl)
    assert target.port == 80


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST.", "foo.localhost", "localhost.localdomain", "localdomain"),
        *("metadata.google.internal", "Printer.LOCAL.", "\uff4c\uff4f\uff43\uff41\uff4c"),
    ],
)
def test_names_that_are_never_public_are_closed_where_that_is_said(host: str) -> None:
    for closed, expected in ((NEVER_PUBLIC, False), (frozenset[str](), True)):
        place = check_url(f"https://{host}:8443/x", ports=(), schemes=("https",), closed=closed)
        assert isinstance(place, CheckedUrl) is expected
        assert isinstance(place, CheckedUrl) or "never public" in place


@pytest.mark.parametrize(
    "host", ["local.example", "mylocalhost", "internal.example", "[::1]", "10.0.0.1"]
)
def test_what_only_looks_like_such_a_name_is_not_closed(host: str) -> None:
    target = check_url(f"https://{host}/", ports=(), schemes=("https",), closed=NEVER_PUBLIC)
    assert isinstance(target, CheckedUrl)


@given(st.text() | st.from_regex(r"https://[0-9a-fx.\[\]:%@\\]{1,24}(/.*)?", fullmatch=True))
def test_a_url_that_passes_reads_the_same_to_everybody(url: str) -> None:
    target = check(url)
    if isinstance(target, str):
        return
    parts = urlsplit(target.url)
    assert (parts.scheme, parts.hostname, parts.port or 443) == ("https", target.host, target.port)
    assert target.url.isascii()
    assert (parts.username, parts.fragment) == (None, "")
    if target.address is None:
        with pytest.raises(ValueError, match="does not appear"):
            ipaddress.ip_address(target.host)
