"""An OpenID Connect provider by its discovery document: implements the port IdentityProvider.

The document and the keys are kept for an hour, and longer while the provider cannot be reached. The keys
are read again at once when a token is signed with another one, as after a rotation.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from authlib.common import urls
from authlib.oauth2 import rfc7636
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749 import parameters
from joserfc.jwk import KeySet
from joserfc.jwt import Token

from gateway.adapters.oidc.http import ProviderHttp
from gateway.adapters.oidc.id_token import (
    ExpectedToken,
    UnknownKeyError,
    checked,
    distrusted,
    key_set,
    verified,
)
from gateway.adapters.oidc.metadata import Metadata, read_metadata
from gateway.core.crypto.cipher import Secret
from gateway.core.text.printable import printable
from gateway.ports import Clock, ProviderAnswer, ProviderFault

# Authlib has no types. Of its parts those are used that leave HTTP to their caller.
_urls: Any = urls
_parameters: Any = parameters
_pkce: Any = rfc7636
_KEPT_SECONDS = 3600.0
_DISCOVERY = "/.well-known/openid-configuration"
_OK, _SERVER_ERROR = 200, 500
_LONGEST_ERROR = 200


class ProviderClient(NamedTuple):
    """How the gateway is known to the provider."""

    issuer: str
    client_id: str
    client_secret: Secret
    scopes: str
    redirect_uri: str
    left_uri: str  # where the provider sends people after they signed out there
    name: str


class _Kept(NamedTuple):
    """What the provider said of itself, and the monotonic time."""

    metadata: Metadata
    keys: KeySet
    at: float


class _Failed(NamedTuple):
    """Why the last read failed, and the monotonic time of its end."""

    fault: ProviderFault
    at: float


class OidcProvider:
    """One provider, and what this process knows of it."""

    def __init__(self, client: ProviderClient, clock: Clock, *, user_agent: str) -> None:
        self._client = client
        self._clock = clock
        self._http = ProviderHttp(client.name, user_agent=user_agent)
        self._kept: _Kept | None = None
        self._failed: _Failed | None = None
        self._reading = asyncio.Lock()

    @property
    def name(self) -> str:
        """What people call it."""
        return self._client.name

    @property
    def issuer(self) -> str:
        """Its address, which its tokens name."""
        return self._client.issuer

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def authorization_url(
        self, *, state: str, nonce: str, verifier: str
    ) -> str | ProviderFault:
        """Where the browser is sent to sign in."""
        known = await self._known()
        if isinstance(known, ProviderFault):
            return known
        return str(
            _parameters.prepare_grant_uri(
                known.metadata.authorization_endpoint,
                client_id=self._client.client_id,
                response_type="code",
                redirect_uri=self._client.redirect_uri,
                scope=self._client.scopes,
                state=state,
                nonce=nonce,
                code_challenge=_pkce.create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    async def claims(
        self, answer: ProviderAnswer, *, nonce: str, verifier: str
    ) -> Mapping[str, object] | ProviderFault:
        """The checked claims of the ID token that a code is exchanged for."""
        known = await self._known()
        if isinstance(known, ProviderFault):
            return known
        is_named = bool(answer.issuer) or known.metadata.names_issuer
        if is_named and answer.issuer != self._client.issuer:
            return ProviderFault("distrusted", "The answer is from another provider.")
        tokens = await self._exchange(known.metadata, answer.code, verifier)
        if isinstance(tokens, ProviderFault):
            return tokens
        token = await self._verified(tokens.get("id_token"), known)
        if isinstance(token, ProviderFault):
            return token
        access = str(tokens.get("access_token") or "")
        now = self._clock.now().timestamp()
        own = ExpectedToken(self._client.issuer, self._client.client_id, nonce, access, now)
        return checked(token, own)

    async def sign_out_url(self) -> str | None:
        """Where a person ends the session at the provider; None if it has no such page, or is away."""
        known = await self._known()
        if isinstance(known, ProviderFault) or not known.metadata.end_session_endpoint:
            return None
        back = {
            "client_id": self._client.client_id,
            "post_logout_redirect_uri": self._client.left_uri,
        }
        return str(_urls.add_params_to_uri(known.metadata.end_session_endpoint, list(back.items())))

    async def check(self) -> ProviderFault | None:
        """Read the description and the keys now; None if both can be used."""
        found = await self._read()
        return found if isinstance(found, ProviderFault) else None

    async def _known(self) -> _Kept | ProviderFault:
        """What is kept; read first if there is nothing, or it is old. An old one is better than none.

        Those who wait for a read share its fault, so that a provider that hangs does not make a queue.
        """
        asked = self._clock.monotonic()
        async with self._reading:
            kept, failed = self._kept, self._failed
            if kept is not None and asked - kept.at < _KEPT_SECONDS:
                return kept
            if failed is None or failed.at < asked:
                found = await self._read()
                if not isinstance(found, ProviderFault):
                    return found
                failed = self._failed = _Failed(found, self._clock.monotonic())
            return failed.fault if kept is None else kept

    async def _verified(self, token: object, known: _Kept) -> Token | ProviderFault:
        """The token, by the keys that are known, or else by those that the provider has now."""
        try:
            return verified(token, known.keys)
        except UnknownKeyError:
            async with self._reading:
                found = await self._read()
        if isinstance(found, ProviderFault):
            return found
        try:
            return verified(token, found.keys)
        except UnknownKeyError as error:
            return distrusted("no key of the provider signed it", error)

    async def _read(self) -> _Kept | ProviderFault:
        """Read the description and the keys, and keep them."""
        described = await self._document(self._client.issuer.rstrip("/") + _DISCOVERY)
        if isinstance(described, ProviderFault):
            return described
        metadata = read_metadata(described, self._client.issuer)
        if isinstance(metadata, str):
            return self._unusable(f"the discovery document cannot be used: {metadata}")
        document = await self._document(metadata.jwks_uri)
        if isinstance(document, ProviderFault):
            return document
        keys = key_set(document)
        if keys is None:
            return self._unusable(f"no key at {metadata.jwks_uri} can be used")
        self._kept = _Kept(metadata, keys, self._clock.monotonic())
        return self._kept

    async def _document(self, url: str) -> Mapping[str, Any] | ProviderFault:
        reply = await self._http.get(url)
        if isinstance(reply, ProviderFault):
            return reply
        if reply.status != _OK:
            return self._unusable(f"{url} is answered {reply.status}")
        return reply.values

    async def _exchange(
        self, metadata: Metadata, code: str, verifier: str
    ) -> Mapping[str, Any] | ProviderFault:
        """The tokens that a code is good for."""
        own = self._client
        body = _parameters.prepare_token_request(
            "authorization_code", redirect_uri=own.redirect_uri, code=code, code_verifier=verifier
        )
        prove: Any = ClientAuth(own.client_id, own.client_secret.value, metadata.auth_method)
        url, headers, form = prove.prepare("POST", metadata.token_endpoint, {}, body)
        reply = await self._http.post(str(url), str(form), headers)
        if isinstance(reply, ProviderFault):
            return reply
        if reply.status >= _SERVER_ERROR:
            return self._unusable(f"the token endpoint answers {reply.status}")
        error = reply.values.get("error")
        if reply.status != _OK or error:
            return self._refused(str(error or reply.status), reply.values)
        return reply.values

    def _refused(self, error: str, values: Mapping[str, Any]) -> ProviderFault:
        error = printable(error[:_LONGEST_ERROR])
        told = printable(str(values.get("error_description") or "")[:_LONGEST_ERROR])
        if error in ("invalid_client", "unauthorized_client"):
            text = f"{self.name} does not accept the gateway as its client. Tell its operators."
        else:
            text = f"{self.name} refused the sign-in ({error}). Begin it again here."
        return ProviderFault("refused", text, f"the token endpoint says {error}: {told}")

    def _unusable(self, cause: str) -> ProviderFault:
        text = f"{self.name} cannot be used to sign in now. Tell the operators of the gateway, or use a key."
        return ProviderFault("away", text, cause)
