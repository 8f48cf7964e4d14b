"""Settings: read from the environment, all faults named at once, secrets never shown."""

import base64
from ipaddress import ip_network

import pytest

from gateway.settings import InvalidSettingsError, Settings, load_settings

KEY = base64.b64encode(b"k" * 32).decode()
OTHER_KEY = base64.b64encode(b"o" * 32).decode()
NEEDED = {
    "DATABASE_URL": "postgresql://gw:db-secret@db:5432/gateway",
    "REDIS_URL": "redis://:redis-secret@cache:6379/0",
    "MASTER_KEY": KEY,
}


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GATEWAY_{name.upper()}", raising=False)
    for name, value in (NEEDED | environment).items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    return load_settings()


def faults(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    with pytest.raises(InvalidSettingsError) as caught:
        load(monkeypatch, **environment)
    return str(caught.value).splitlines()


def test_three_settings_are_enough(monkeypatch: pytest.MonkeyPatch):
    settings = load(monkeypatch)
    assert settings.env == "production"
    assert not settings.allow_private_callbacks
    assert settings.callback_ports == {443, 8443}
    assert settings.delivery_delays == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert settings.upstream_url == "https://api.music.ai/v1"
    assert settings.master_keys == [b"k" * 32]


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch):
    settings = load(
        monkeypatch,
        CALLBACK_NETWORKS="10.0.0.0/8, fd00::/8,",
        PORTAL_FRAME_ANCESTORS="https://a.example, https://*.b.example:8443,",
        CALLBACK_PORTS="443, 9443",
        DELIVERY_DELAYS="1,2.5",
        MASTER_KEY=f"{KEY},{OTHER_KEY}",
    )
    assert settings.portal_frame_ancestors == ("https://a.example", "https://*.b.example:8443")
    assert settings.callback_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.callback_ports == {443, 9443}
    assert settings.delivery_delays == (1.0, 2.5)
    assert settings.master_keys == [b"k" * 32, b"o" * 32]


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+asyncpg"], ids=lambda scheme: scheme
)
def test_every_common_name_of_postgres_is_taken(monkeypatch: pytest.MonkeyPatch, scheme: str):
    settings = load(monkeypatch, DATABASE_URL=f"{scheme}://u:p@h/d")
    assert settings.database_url.get_secret_value() == f"{scheme}://u:p@h/d"


def test_an_upstream_has_no_slash_at_its_end(monkeypatch: pytest.MonkeyPatch):
    assert load(monkeypatch, UPSTREAM_URL="http://sim:1/v1/").upstream_url == "http://sim:1/v1"


def test_the_public_url_ends_without_a_slash(monkeypatch: pytest.MonkeyPatch):
    assert load(monkeypatch).public_url == ""
    assert (
        load(monkeypatch, PUBLIC_URL="https://a.example/gw/").public_url == "https://a.example/gw"
    )
    for wrong in (
        "a.example",
        "javascript:alert(1)",
        "https://u:p@a.example",
        "https://a.example/?b",
    ):
        with pytest.raises(InvalidSettingsError, match="GATEWAY_PUBLIC_URL: must be an http"):
            load(monkeypatch, PUBLIC_URL=wrong)


def test_everything_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch):
    for name in NEEDED:
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings()
    assert str(caught.value).splitlines() == [
        "GATEWAY_DATABASE_URL: is not set",
        "GATEWAY_REDIS_URL: is not set",
        "GATEWAY_MASTER_KEY: is not set",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DATABASE_URL", "mysql://u:db-secret@h/d", "must start with postgresql://"),
        ("DATABASE_URL", "postgresql://", "must start with postgresql://"),
        ("DATABASE_URL", "postgresql://h/d?sslmod=require", "is sslmode meant?"),
        ("MIGRATION_DATABASE_URL", "postgresql://h:99999/d", "has a port that is no number"),
        ("READ_DATABASE_URL", "mysql://u:db-secret@h/d", "must start with postgresql://"),
        ("READ_DATABASE_URL", "postgresql://u@h1,h2/d", "name one standby"),
        ("READ_DATABASE_URL", "postgresql://h/d?target_session_attrs=primary", "leave it out"),
        ("READ_MAX_LAG_SECONDS", "1", "greater than or equal to 2"),
        ("REDIS_URL", "http://redis-secret", "must start with redis://"),
        ("MASTER_KEY", "not base64!", "must be base64"),
        ("MASTER_KEY", base64.b64encode(b"short").decode(), "32 random bytes"),
        ("MASTER_KEY", "", "32 random bytes"),
        ("EGRESS_PROXY", "https://proxy-secret@p:1", "must be http://host:port"),
        ("EGRESS_PROXY", "http://u:proxy-secret@p", "must be http://host:port"),
        ("EGRESS_PROXY", "http://u:proxy-secret@p:0", "must be http://host:port"),
        ("EGRESS_PROXY", "http://u:proxy-secret@p:65536", "must be http://host:port"),
        ("EGRESS_PROXY", "http://u:proxy-secret@p:1/path", "must be http://host:port"),
        ("EGRESS_PROXY", "http://u:proxy@secret@p:1", "must be http://host:port"),
        ("EGRESS_PROXY", "http://u:proxy-secret@[::::]:1", "must be http://host:port"),
        ("UPSTREAM_URL", "ftp://x", "must be an http or https URL"),
        ("UPSTREAM_URL", "https://user@x/v1", "must be an http or https URL"),
        ("UPSTREAM_URL", "https://x/v1?a=1", "must be an http or https URL"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("ENV", "prod", "'production' or 'dev'"),
        ("CALLBACK_NETWORKS", "10.0.0.0/99", "not a valid IPv4 network"),
        ("PORTAL_FRAME_ANCESTORS", "https://a.example,*", "* must be an origin such as"),
        ("CALLBACK_PORTS", "https", "valid integer"),
        ("DELIVERY_TIMEOUT_SECONDS", "21", "less than or equal to 20"),
    ],
    ids=str,
)
def test_a_faulty_setting_is_named_with_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
):
    lines = faults(monkeypatch, **{name: value})
    assert said in lines[0]
    assert all(line.startswith(f"GATEWAY_{name}: ") for line in lines)
    assert "secret" not in "".join(lines)


def test_all_faults_are_named_in_one_go(monkeypatch: pytest.MonkeyPatch):
    lines = faults(monkeypatch, PORT="x", LOG_LEVEL="loud", MASTER_KEY="x")
    assert {line.partition(":")[0] for line in lines} == {
        "GATEWAY_PORT",
        "GATEWAY_LOG_LEVEL",
        "GATEWAY_MASTER_KEY",
    }


def test_production_never_calls_private_addresses_at_large(monkeypatch: pytest.MonkeyPatch):
    (line,) = faults(monkeypatch, ALLOW_PRIVATE_CALLBACKS="true")
    assert line.startswith("allow_private_callbacks is for dev only")
    assert load(monkeypatch, ENV="dev", ALLOW_PRIVATE_CALLBACKS="1").allow_private_callbacks


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch):
    settings = load(monkeypatch, EGRESS_PROXY="http://me:proxy-secret@10.0.0.1:3128/")
    assert settings.egress_proxy.get_secret_value() == "http://me:proxy-secret@10.0.0.1:3128/"
    shown = repr(settings) + str(settings)
    for secret in ("db-secret", "redis-secret", "proxy-secret", KEY):
        assert secret not in shown
