"""The URL of Postgres: the names of libpq are accepted, and each fault is reported in one line."""

from pathlib import Path

import pytest
import trustme

from gateway.config.postgres_url import BadUrlError, Host, read_url

CA = trustme.CA()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    CA.cert_pem.write_to_path(tmp_path / "ca.crt")
    own = CA.issue_cert("client")
    own.private_key_pem.write_to_path(tmp_path / "own.key")
    own.cert_chain_pems[0].write_to_path(tmp_path / "own.crt")
    (tmp_path / "nonsense.crt").write_text("nonsense")
    return tmp_path


def fault(url: str) -> str:
    with pytest.raises(BadUrlError) as refused:
        read_url(url)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_plain_url_names_server_login_and_database():
    url = read_url("postgresql://gw:p%40ss@db:6432/gate%20way")
    assert (url.hosts, url.user, url.password) == ((Host("db", 6432),), "gw", "p@ss")
    assert (url.database, url.connect_timeout, url.place) == ("gate way", None, "db:6432")
    assert "p@ss" not in repr(url)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://a,b/x", [("a", 5432), ("b", 5432)]),
        ("postgresql://a:1,b:2/x", [("a", 1), ("b", 2)]),
        ("postgresql://u:p@a:1,b/x", [("a", 1), ("b", 5432)]),
        ("postgresql://a,b/x?port=7", [("a", 7), ("b", 7)]),
        ("postgresql:///x?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql:///x?host=a:1,b:2", [("a", 1), ("b", 2)]),
        ("postgresql:///x?host=a:1&host=b:2", [("a", 1), ("b", 2)]),
        ("postgresql:///x?host=a&host=b&port=3", [("a", 3), ("b", 3)]),
        ("postgresql://[::1]:9/x", [("::1", 9)]),
        ("postgresql://[::1],c/x", [("::1", 5432), ("c", 5432)]),
        ("postgresql:///x?host=::1", [("::1", 5432)]),
        ("postgresql:///x?host=/var/run/postgresql", [("/var/run/postgresql", 5432)]),
        ("postgresql://%2Frun%2Fpg:7/x", [("/run/pg:7", 5432)]),
        ("postgresql:///x?port=9", [("localhost", 9)]),
        ("postgresql:///x", []),
    ],
)
def test_hosts_are_read_in_every_form_that_libpq_has(url: str, hosts: list[tuple[str, int]]):
    assert read_url(url).hosts == tuple(Host(*one) for one in hosts)


def test_login_and_database_may_be_in_the_query():
    url = read_url("postgresql://db?user=u&password=p%26q&dbname=d")
    assert (url.user, url.password, url.database) == ("u", "p&q", "d")


def test_an_ipv6_address_is_shown_in_brackets():
    assert read_url("postgresql://[::1]:9,h/x").place == "[::1]:9, h:5432"
    assert "PGHOST" in read_url("postgresql:///x").place


def test_parameters_of_libpq_are_accepted(certificates: Path):
    url = read_url(
        "postgres://db/x?sslmode=verify-full&application_name=mine&connect_timeout=7"
        f"&sslrootcert={certificates}/ca.crt&sslcert={certificates}/own.crt"
        f"&sslkey={certificates}/own.key&options=-c%20search_path%3Dgw&passfile={certificates}/ca.crt"
        "&target_session_attrs=read-write&channel_binding=prefer&gssencmode=disable"
        "&ssl_min_protocol_version=TLSv1.2&client_encoding=utf8&sslnegotiation=direct"
    )
    assert url.connect_timeout == 7
    assert url.server == {"application_name": "mine", "options": "-c search_path=gw"}
    assert set(url.driver) == {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "target_session_attrs"),
        *("ssl_min_protocol_version", "sslnegotiation"),
    }


def test_names_of_sqlalchemy_and_asyncpg_are_accepted():
    assert read_url("postgresql+asyncpg://db/x?ssl=require").driver == {"sslmode": "require"}
    assert read_url("postgresql://db?database=d&username=u").database == "d"


def test_a_fallback_name_is_used_if_there_is_no_other():
    only = read_url("postgresql://db/x?fallback_application_name=f")
    both = read_url("postgresql://db/x?fallback_application_name=f&application_name=a")
    assert (only.server, both.server) == ({"application_name": "f"}, {"application_name": "a"})


def test_the_system_certificates_need_verify_full():
    assert read_url("postgresql://db/x?sslrootcert=system").driver == {"sslrootcert": "system"}
    said = fault("postgresql://db/x?sslrootcert=system&sslmode=require")
    assert said == "the parameter sslrootcert=system needs sslmode=verify-full"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://", "must start with postgresql:// and name a server, user or database"),
        ("mysql://db/x", "must start with postgresql://"),
        ("db:5432/x", "must start with postgresql://"),
        ("postgresql://u:p@db:99999/x", "has a port that is no number from 1 to 65535"),
        ("postgresql://u:p@db:0/x", "has a port that is no number"),
        ("postgresql://u:p@db:٣/x", "has a port that is no number"),
        ("postgresql:///x?host=db&port=abc", "has a port that is no number"),
        ("postgresql://a,b/x?port=1,2,3", "names 2 hosts and 3 ports"),
        ("postgresql://[::1/x", "has a host in brackets that is no IPv6 address"),
        ("postgresql:///x?host=[::1", "has a host in brackets that is no IPv6 address"),
        ("postgresql:///x?host=[::1]5", "has a host in brackets that is no IPv6 address"),
        ("postgresql://u:s3@cret@db/x", "holds more than one @"),
        ("postgresql://u:s3/cret@db/x", "has a port that is no number"),
        ("postgresql://u:s3?cret@db/x", "has a port that is no number"),
        ("postgresql://u:12?cret@db/x", "has a parameter without a name"),
        ("postgresql://u:s3#cret@db/x", "holds a bare #"),
        ("postgresql://u:s3%cret@db/x", "holds a % that encodes nothing"),
        ("postgresql://u:p@db/x y", "holds a space or a control character"),
        (
            "postgresql://db/x?sslmod=require",
            "the parameter sslmod is not known; is sslmode meant?",
        ),
        (
            "postgresql://db/x?foo=bar",
            "the parameter foo is not known; known are application_name, ",
        ),
        ("postgresql://db/x?keepalives=1", "the parameter keepalives is not known"),
        ("postgresql://db/x?sslmode=yes", "the parameter sslmode must be one of disable, allow, "),
        ("postgresql://db/x?target_session_attrs=standby", "the gateway writes, so a standby"),
        ("postgresql://db/x?channel_binding=require", "use sslmode=verify-full"),
        ("postgresql://db/x?load_balance_hosts=random", "load_balance_hosts must be disable"),
        ("postgresql://db/x?client_encoding=latin1", "client_encoding must be one of utf8"),
        ("postgresql://db/x?connect_timeout=0", "must be a whole number of seconds, 1 to 60"),
        ("postgresql://db/x?connect_timeout=1.5", "must be a whole number of seconds, 1 to 60"),
        (
            "postgresql://db/x?sslrootcert=/no/ca",
            "the parameter sslrootcert names /no/ca, which is",
        ),
        ("postgresql://db/x?sslnegotiation=direct", "needs sslmode=require or stronger"),
    ],
)
def test_a_faulty_url_is_reported_in_one_line(url: str, said: str):
    told = fault(url)
    assert said in told
    assert "cret" not in told


def test_unusable_certificates_are_refused_when_the_url_is_read(certificates: Path):
    root = fault(f"postgresql://db/x?sslmode=verify-ca&sslrootcert={certificates}/nonsense.crt")
    assert root.startswith("the parameter sslrootcert cannot be used: ")
    own = fault(f"postgresql://db/x?sslcert={certificates}/own.crt&sslkey={certificates}/ca.crt")
    assert own.startswith("the parameter sslcert and sslkey cannot be used: ")
