"""The forms of GATEWAY_REDIS_URL, and one sentence for each fault."""

from pathlib import Path

import pytest

from gateway.config.redis_url import InvalidAddressError, RedisAddress, Server, parse_redis_url
from tests.redis_kinds import Papers, issue


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return issue(tmp_path_factory.mktemp("papers"))


def refusal(url: str) -> str:
    with pytest.raises(InvalidAddressError) as caught:
        parse_redis_url(url)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_server() -> None:
    assert parse_redis_url("redis://cache") == RedisAddress(
        servers=(Server("cache", 6379),),
        socket="",
        master="",
        database=0,
        username=None,
        password=None,
        tls=None,
        sentinel_username=None,
        sentinel_password=None,
        sentinel_tls=None,
    )
    full = parse_redis_url("redis://us%40er:p%40ss%2Fw%3Ard@cache.internal:7000/15")
    assert full.servers == (Server("cache.internal", 7000),)
    assert (full.username, full.password, full.database) == ("us@er", "p@ss/w:rd", 15)
    assert str(full) == "cache.internal:7000"
    sixth = parse_redis_url("redis://:p@[::1]:7000")
    assert (sixth.servers, str(sixth)) == ((Server("::1", 7000),), "[::1]:7000")
    assert (sixth.username, sixth.password) == (None, "p")
    assert parse_redis_url("redis://cache?db=3").database == 3
    assert parse_redis_url("redis://cache/3?db=3").database == 3
    assert parse_redis_url("redis://my_cache:6379/").database == 0


def test_a_socket() -> None:
    address = parse_redis_url("unix://user:secret@/run/redis/a%20b.sock?db=2")
    assert (address.socket, address.servers, str(address)) == (
        "/run/redis/a b.sock",
        (),
        "/run/redis/a b.sock",
    )
    assert (address.username, address.password, address.database) == ("user", "secret", 2)


def test_tls(papers: Papers) -> None:
    plain = parse_redis_url("rediss://cache").tls
    assert plain
    assert (plain.ca, plain.verification, plain.check_hostname) == (None, "required", True)
    own = f"ssl_ca_certs={papers.ca}&ssl_certfile={papers.client}&ssl_keyfile={papers.client_key}"
    tls = parse_redis_url(f"rediss://cache?{own}&ssl_check_hostname=false").tls
    assert tls
    assert (tls.ca, tls.certificate) == (str(papers.ca), str(papers.client))
    assert (tls.key, tls.check_hostname) == (str(papers.client_key), False)
    libpq = f"sslrootcert={papers.ca}&sslcert={papers.client}&sslkey={papers.client_key}"
    assert parse_redis_url(f"rediss://cache?{libpq}") == parse_redis_url(f"rediss://cache?{own}")
    none = parse_redis_url("rediss://cache?ssl_cert_reqs=none").tls
    assert none
    assert (none.verification, none.check_hostname) == ("none", False)


def test_sentinels(papers: Papers) -> None:
    address = parse_redis_url("redis+sentinel://app:secret@one,two:26380,[::1]/my%20cache/4")
    assert address.servers == (Server("one", 26379), Server("two", 26380), Server("::1", 26379))
    assert (address.master, address.database) == ("my cache", 4)
    assert (address.username, address.password) == ("app", "secret")
    assert (address.tls, address.sentinel_tls) == (None, None)
    login = "sentinel_username=s&sentinel_password=p%26w"
    secure = parse_redis_url(f"rediss+sentinel://one/cache?{login}&ssl_ca_certs={papers.ca}")
    assert (secure.sentinel_username, secure.sentinel_password) == ("s", "p&w")
    assert secure.tls
    assert secure.tls == secure.sentinel_tls
    half = parse_redis_url("rediss+sentinel://one/cache?sentinel_ssl=false")
    assert half.tls
    assert half.sentinel_tls is None
    other = parse_redis_url(f"redis+sentinel://one/c?sentinel_ssl=true&ssl_ca_certs={papers.ca}")
    assert other.tls is None
    assert other.sentinel_tls
    assert other.sentinel_tls.ca == str(papers.ca)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must start with redis://, rediss://, unix:// or redis+sentinel://"),
        ("cache:6379", "must start with"),
        ("redis://", "must start with"),
        ("http://cache", "must start with"),
        ("sentinel://cache", "must start with"),
        ("redis+sentinels://one/cache", "did you mean redis+sentinel://?"),
        ("redis:///0", "names no host"),
        ("redis://:6379/0", "names no host, or a port that is no number"),
        ("redis://[::1", "names no host, or a port that is no number"),
        ("redis://[cache]", "brackets without an IPv6 address"),
        ("redis://cache:99999", "a port that is not from 1 to 65535"),
        ("redis://cache:0", "a port that is not from 1 to 65535"),
        ("redis://cache:port", "a port that is no number"),
        ("redis://a:1,b:2", "names several hosts: write redis+sentinel://"),
        ("redis://cache/first", "a database that is no number"),
        ("redis://cache/-1", "a database that is no number"),
        ("redis://cache/1?db=2", "names two databases"),
        ("redis://cache?protocol=3", "the option protocol, which the gateway chooses itself"),
        ("redis://cache?decode_responses=true", "the option decode_responses, which the gateway"),
        ("redis://cache?socket_timeout=9", "the option socket_timeout, which the gateway"),
        ("redis://cache?foo=bar", "the unknown option 'foo': there are db, ssl_ca_certs"),
        ("rediss://cache?ssl_cacerts=x", "did you mean ssl_ca_certs?"),
        ("redis://cache?password=x", "write it before the host"),
        ("redis://cache?ssl=true", "write rediss:// for TLS"),
        ("redis://cache?db=1&db=2", "the option db twice"),
        ("redis://cache?ssl_ca_certs=/ca.pem", "ssl_ca_certs, which needs rediss://"),
        ("redis://cache?sentinel_password=x", "needs redis+sentinel://"),
        ("rediss://cache?ssl_cert_reqs=maybe", "must be required, optional or none"),
        ("rediss://cache?ssl_check_hostname=1", "must be true or false"),
        ("rediss://cache?ssl_cert_reqs=none&ssl_check_hostname=true", "excludes"),
        ("rediss://cache?ssl_keyfile=/k.pem", "ssl_keyfile without ssl_certfile"),
        ("rediss://cache?ssl_ca_certs=/no/ca.pem", "/no/ca.pem cannot be read: No such file"),
        ("redis+sentinel://one,two", "names no master"),
        ("redis+sentinel:///cache", "names no host"),
        ("unix://", "must start with"),
        ("unix://run/redis.sock", "names no socket"),
        ("redis://cache\n", "holds a blank or a #"),
    ],
)
def test_each_fault_is_one_sentence(url: str, why: str) -> None:
    assert why in refusal(url)


@pytest.mark.parametrize("secret", ["hun#ter", "hun/ter", "hun?ter", "hun?t=er", "hun ter"])
def test_a_password_that_is_not_encoded_is_never_shown(secret: str) -> None:
    text = refusal(f"redis://:{secret}@cache:6379/0")
    assert "percent-encode" in text
    assert "ter" not in text.replace("parameter", "")


def test_unusable_certificates_are_refused(papers: Papers, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    assert "is not a PEM of certificates" in refusal(f"rediss://cache?ssl_ca_certs={junk}")
    wrong = f"rediss://cache?ssl_certfile={papers.client}&ssl_keyfile={papers.server}"
    assert "the certificate and its key cannot be used" in refusal(wrong)
    assert "cannot be used" in refusal(f"rediss://cache?ssl_certfile={papers.ca}")
    assert "cannot be read" in refusal(f"rediss://cache?ssl_ca_certs={tmp_path}")
