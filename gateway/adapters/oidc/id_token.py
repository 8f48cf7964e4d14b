"""Checks an ID token: who signed it, for whom, for which sign-in, and when."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from gateway.ports import ProviderFault

# Only algorithms with a public key: with HS256 whoever knows the public key, or the client's secret, could sign.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
_LEEWAY_SECONDS = 60
_TIMES = frozenset({"exp", "iat", "nbf"})
# What joserfc and Authlib raise for tokens that break their rules in ways they did not expect.
_BROKEN = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
_WHAT = {
    "iss": "it is from another issuer",
    "aud": "it is for another client",
    "azp": "it is for another client",
    "nonce": "it is for another sign-in",
    "sub": "it names nobody",
}


class ExpectedToken(NamedTuple):
    """What an ID token has to say."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str
    now: float


class UnknownKeyError(Exception):
    """No known key fits the token: the provider may have new ones."""


def key_set(document: Mapping[str, Any]) -> KeySet | None:
    """The public keys of a JWKS that signatures can be checked with; None without one."""
    keys = [key for one in _entries(document) if (key := _key(one)) is not None]
    return KeySet(keys) if keys else None


def verified(token: object, keys: KeySet) -> jwt.Token | ProviderFault:
    """The token, if one of the keys signed it; raises UnknownKeyError if another one may have."""
    if not isinstance(token, str):
        return ProviderFault("distrusted", "The provider sent no ID token.")
    try:
        return jwt.decode(token, keys, algorithms=ALGORITHMS)
    except (InvalidKeyIdError, BadSignatureError) as error:
        raise UnknownKeyError(str(error)) from None
    except _BROKEN as error:
        return distrusted("its signature cannot be trusted", error)


def checked(token: jwt.Token, expected: ExpectedToken) -> Mapping[str, object] | ProviderFault:
    """The claims, if they are for this sign-in and at this time."""
    own: dict[str, Any] = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True},
    }
    params = {
        "client_id": expected.client_id,
        "nonce": expected.nonce,
        "access_token": expected.access_token,
    }
    try:
        claims: Any = CodeIDToken(token.claims, token.header, own, params)
        claims.validate(now=int(expected.now), leeway=_LEEWAY_SECONDS)
    except _BROKEN as error:
        return _refused(error)
    return token.claims


def distrusted(why: str, error: Exception) -> ProviderFault:
    """A fault for the person, and the library's reason for the log."""
    cause = f"the ID token is refused: {type(error).__name__}: {error}"
    return ProviderFault("distrusted", f"The provider's ID token is refused: {why}.", cause)


def _refused(error: Exception) -> ProviderFault:
    claim = error.claim if isinstance(error, ClaimError) else ""
    if claim in _TIMES:
        why = "it is not valid now. Compare the clocks of the gateway and of the provider"
    else:
        why = _WHAT.get(claim, "it breaks the rules of OpenID Connect")
    return distrusted(why, error)


def _entries(document: Mapping[str, Any]) -> list[object]:
    found = document.get("keys")
    return cast("list[object]", found) if isinstance(found, list) else []


def _key(entry: object) -> Key | None:
    """One public key for signatures; None for any other, so that it does not spoil the rest."""
    if not isinstance(entry, dict):
        return None
    values = cast("dict[str, Any]", entry)
    if values.get("kty") == "oct" or values.get("use", "sig") != "sig":
        return None
    try:
        return JWKRegistry.import_key(values)
    except _BROKEN:
        return None
