"""What an OpenID Connect provider says of itself: its endpoints, checked before they are used."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from gateway.config.openid_connect import is_safe_url

_POST, _BASIC = "client_secret_post", "client_secret_basic"
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Metadata(NamedTuple):
    """The parts of a discovery document that are used."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str
    auth_method: str  # how the client proves at the token endpoint who it is
    names_issuer: bool  # whether each answer names its issuer (RFC 9207)


def read_metadata(values: Mapping[str, Any], issuer: str) -> Metadata | str:
    """The parts of a document, or why it cannot be used."""
    if values.get("issuer") != issuer:
        told = str(values.get("issuer"))[:200]
        return f"it names the issuer {told!r}; GATEWAY_OIDC_ISSUER must be that, letter by letter"
    for name in _NEEDED:
        url = values.get(name)
        if not isinstance(url, str) or not is_safe_url(url):
            return f"its {name} is no https URL"
    leave = values.get("end_session_endpoint")
    methods = values.get("token_endpoint_auth_methods_supported")
    return Metadata(
        values["authorization_endpoint"],
        values["token_endpoint"],
        values["jwks_uri"],
        leave if isinstance(leave, str) and is_safe_url(leave) else "",
        # In a form nobody disagrees about how special characters of a secret are written.
        _POST if _POST in _texts(methods) else _BASIC,
        values.get("authorization_response_iss_parameter_supported") is True,
    )


def _texts(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []
