"""The settings of sign-in with OpenID Connect: what each may be, and which of them belong together."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from gateway.config.origins import is_loopback

_ROLES = ("viewer", "support", "operator")
_EXAMPLE = '{"gateway-operators": "operator", "everyone": "viewer"}'
_SCOPES = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*")
_VISIBLE = re.compile(r"[!-~]+")
# In a header of Basic authentication nothing else arrives everywhere.
_NEEDED = ("client_id", "client_secret", "roles")


def is_safe_url(url: str) -> bool:
    """Whether a URL is https, or http at a loopback address, without user and fragment."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.fragment or not _VISIBLE.fullmatch(url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def why_incomplete(values: Mapping[str, Any], public_url: str) -> str | None:
    """The sentences about what is missing; None if all of it is set, or none."""
    given = {name: bool(_plain(values[name])) for name in ("issuer", *_NEEDED)}
    if not any(given.values()):
        return None
    set_one = next(name for name, is_set in given.items() if is_set)
    lines = [
        f"{_variable(name)}: is not set, but {_variable(set_one)} is; sign-in with OpenID Connect needs both"
        for name, is_set in given.items()
        if not is_set
    ]
    if not is_safe_url(public_url):
        lines.append(
            "GATEWAY_PUBLIC_URL: must be set to an https URL for sign-in with OpenID Connect, because the"
            " provider sends people back to its /console/oidc/callback; http is for loopback addresses only"
        )
    return "\n".join(lines) or None


def _issuer(value: str) -> str:
    if value and (not is_safe_url(value) or "?" in value):
        raise ValueError(
            "must be an https URL without user, query or fragment; http is for loopback addresses only"
        )
    return value


def _client(value: str) -> str:
    if value and not _VISIBLE.fullmatch(value):
        raise ValueError("must be visible ASCII characters without spaces")
    return value


def _secret(value: SecretStr) -> SecretStr:
    plain = value.get_secret_value()
    if plain and not (plain.isascii() and plain.isprintable()):
        raise ValueError("must be printable ASCII characters")
    return value


def _scopes(value: str) -> str:
    if not _SCOPES.fullmatch(value) or "openid" not in value.split(" "):
        raise ValueError("must be names separated by one space, and one of them is openid")
    return value


def _read_roles(value: object) -> object:
    """Read the JSON object that the environment has as text."""
    if not isinstance(value, str):
        return value
    try:
        found: object = json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        raise ValueError(f"must be a JSON object such as {_EXAMPLE}") from None
    if not isinstance(found, dict):
        raise ValueError(f"must be a JSON object such as {_EXAMPLE}")  # noqa: TRY004 - what pydantic reports
    wrong = [role for role in cast("dict[str, object]", found).values() if role not in _ROLES]
    if wrong:
        raise ValueError(f"has the role {wrong[0]!r}; roles are {', '.join(_ROLES)}")
    return cast("dict[str, str]", found)


def _visible(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable characters")
    return value


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _variable(name: str) -> str:
    return f"GATEWAY_OIDC_{name.upper()}"


Issuer = Annotated[
    str,
    AfterValidator(_issuer),
    Field(
        description="Issuer of the OpenID Connect provider that staff [sign in with](console.md#sign-in-with-openid-connect), "
        "as its discovery document writes it. Empty: they sign in with keys and links only."
    ),
]
ClientId = Annotated[
    str,
    AfterValidator(_client),
    Field(description="The client id that the provider gave to the gateway."),
]
ClientSecret = Annotated[
    SecretStr,
    AfterValidator(_secret),
    Field(description="The client secret that the provider gave to the gateway."),
]
Scopes = Annotated[
    str,
    AfterValidator(_scopes),
    Field(description="Scopes that are asked for, separated by spaces."),
]
RolesClaim = Annotated[
    str,
    Field(
        min_length=1,
        description="Claim of the ID token that holds groups or roles; a dot leads into an object, as in "
        "`realm_access.roles`.",
    ),
]
RoleMap = Annotated[
    Mapping[str, str],
    NoDecode,
    BeforeValidator(_read_roles),
    Field(
        description="Which value of that claim gives which role (`viewer`, `support`, `operator`), as a JSON "
        f"object such as `{_EXAMPLE}`. The highest role counts; a person without one is refused."
    ),
]
NameClaim = Annotated[
    str,
    Field(
        description="Claim with the person's name for pages and the audit log; without a value: `email`, then "
        "`preferred_username`, then `sub`."
    ),
]
ProviderName = Annotated[
    str,
    AfterValidator(_visible),
    Field(
        max_length=60,
        description="What the button calls the provider: *Sign in with NAME*. Empty: the host of the issuer.",
    ),
]
