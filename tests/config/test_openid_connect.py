"""The settings of sign-in with OpenID Connect."""

from pathlib import Path

import pytest

from gateway.config.openid_connect import is_safe_url
from gateway.settings import shown_settings_of_environment
from tests.test_settings import faults, load

OWN = {
    "PUBLIC_URL": "https://jobs.example.com",
    "OIDC_ISSUER": "https://id.example.com/realms/staff",
    "OIDC_CLIENT_ID": "gateway",
    "OIDC_CLIENT_SECRET": "hush",
    "OIDC_ROLES": '{"ops": "operator", "cn=all,dc=example": "viewer"}',
}


def test_without_them_there_is_no_such_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).oidc_issuer == ""


def test_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, **OWN)
    assert settings.oidc_issuer == "https://id.example.com/realms/staff"
    assert settings.oidc_roles == {"ops": "operator", "cn=all,dc=example": "viewer"}
    assert settings.oidc_scopes == "openid email profile"
    assert settings.oidc_roles_claim == "groups"
    assert "hush" not in repr(settings)
    shown = {one.name: one.value for one in shown_settings_of_environment()}
    assert shown["GATEWAY_OIDC_CLIENT_SECRET"] == "[hidden]"
    assert shown["GATEWAY_OIDC_ROLES"] == OWN["OIDC_ROLES"]


def test_the_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    own = {name: value for name, value in OWN.items() if name != "OIDC_CLIENT_SECRET"}
    settings = load(monkeypatch, **own, OIDC_CLIENT_SECRET_FILE=str(file))
    assert settings.oidc_client_secret.get_secret_value() == "from a file"


@pytest.mark.parametrize("left_out", [name for name in OWN if name != "PUBLIC_URL"])
def test_half_of_them_is_refused(monkeypatch: pytest.MonkeyPatch, left_out: str) -> None:
    own = {name: value for name, value in OWN.items() if name != left_out}
    (line,) = faults(monkeypatch, **own)
    assert line.startswith(f"GATEWAY_{left_out}: is not set, but GATEWAY_OIDC_")


def test_each_one_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = faults(monkeypatch, OIDC_ISSUER=OWN["OIDC_ISSUER"])
    missing = ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_ROLES", "PUBLIC_URL")
    assert [line.partition(":")[0] for line in lines] == [f"GATEWAY_{name}" for name in missing]


@pytest.mark.parametrize("public_url", ["", "http://jobs.example.com"])
def test_the_provider_has_to_find_back(monkeypatch: pytest.MonkeyPatch, public_url: str) -> None:
    (line,) = faults(monkeypatch, **{**OWN, "PUBLIC_URL": public_url})
    assert line.startswith("GATEWAY_PUBLIC_URL: ")
    assert "/console/oidc/callback" in line


def test_plain_http_is_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    local = {"PUBLIC_URL": "http://localhost:8000", "OIDC_ISSUER": "http://127.0.0.1:9000"}
    assert load(monkeypatch, **{**OWN, **local}).oidc_issuer == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OIDC_ISSUER", "http://id.example.com", "https"),
        ("OIDC_ISSUER", "id.example.com", "https"),
        ("OIDC_ISSUER", "https://u:p@id.example.com", "without user"),
        ("OIDC_ISSUER", "https://id.example.com/?x=1", "query"),
        ("OIDC_CLIENT_ID", "a b", "without spaces"),
        ("OIDC_CLIENT_SECRET", "h\u00fcsh", "printable ASCII"),
        ("OIDC_SCOPES", "email profile", "openid"),
        ("OIDC_SCOPES", "openid  email", "one space"),
        ("OIDC_ROLES_CLAIM", "", "at least 1 character"),
        ("OIDC_ROLES", "ops=operator", "JSON object"),
        ("OIDC_ROLES", "[" * 50_000, "JSON object"),
        ("OIDC_ROLES", '["ops"]', "JSON object"),
        ("OIDC_ROLES", '{"ops": "admin"}', "roles are viewer, support, operator"),
        ("OIDC_ROLES", '{"ops": ["operator"]}', "roles are viewer, support, operator"),
        ("OIDC_PROVIDER_NAME", "a\x1bb", "printable"),
    ],
)
def test_a_wrong_one_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    (line,) = faults(monkeypatch, **{**OWN, name: value})
    assert line.startswith(f"GATEWAY_{name}: ")
    assert said in line


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://id.example.com/a?b=c", True),
        ("http://127.0.0.1:1/x", True),
        ("http://[::1]/x", True),
        ("http://localhost/x", True),
        ("http://localhost.example.com/x", False),
        ("http://10.0.0.1/x", False),
        ("https://[::1", False),
        ("https:///x", False),
        ("https://a:x/", False),
        ("https://a/#b", False),
        ("https://a/ b", False),
        ("javascript:alert(1)", False),
    ],
)
def test_where_secrets_may_be_sent(url: str, is_safe: bool) -> None:
    assert is_safe_url(url) is is_safe
