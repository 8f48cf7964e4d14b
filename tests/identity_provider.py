"""A small OpenID Connect provider on loopback: real HTTP, real keys, and whatever wrong answer a test asks for."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typing_extensions import override

CLIENT_ID, CLIENT_SECRET = "gateway", "a secret: with/special+characters&"


class SigningKey:
    """A private key with a number, and what a JWKS says of it."""

    def __init__(self, kid: str, alg: str = "RS256") -> None:
        self.kid, self.alg = kid, alg
        self.key = (
            rsa.generate_private_key(65537, 2048)
            if alg == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )

    @property
    def jwk(self) -> dict[str, str]:
        numbers: Any = self.key.public_key().public_numbers()
        own = {"kid": self.kid, "alg": self.alg, "use": "sig"}
        if self.alg == "RS256":
            return {**own, "kty": "RSA", "n": _number(numbers.n, 256), "e": _number(numbers.e, 3)}
        x, y = _number(numbers.x, 32), _number(numbers.y, 32)
        return {**own, "kty": "EC", "crv": "P-256", "x": x, "y": y}

    @property
    def pem(self) -> bytes:
        """The public key as a text, which everybody may know."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        head = {"alg": self.alg, "kid": self.kid, **header}
        text = f"{_json(head)}.{_json(claims)}"
        return f"{text}.{_b64(self._signature(head['alg'], text.encode()))}"

    def _signature(self, alg: str, data: bytes) -> bytes:
        if alg == "none":
            return b""
        if alg == "HS256":  # with the public key as the secret
            return hmac.digest(self.pem, data, "sha256")
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


RSA = SigningKey("rsa-1")
EC = SigningKey("ec-1", "ES256")


@dataclass
class Provider:
    """What it answers; a test changes any of it."""

    issuer: str = ""
    published: list[SigningKey] = field(default_factory=lambda: [RSA, EC])
    signer: SigningKey = RSA
    header: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)  # None leaves a claim out
    metadata: dict[str, Any] = field(default_factory=dict)  # None leaves a field out
    answers: dict[str, tuple[int, bytes]] = field(
        default_factory=dict
    )  # by path, in place of its own
    on_the_way_back: dict[str, str] = field(default_factory=dict)
    codes_last: bool = False  # whether a code is good for more than one use
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def reset(self) -> None:
        """Be as new, at the same address."""
        vars(self).update(vars(Provider(issuer=self.issuer)))

    def document(self) -> dict[str, Any]:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=x",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/leave",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            **self.metadata,
        }
        return {name: value for name, value in found.items() if value is not None}

    def authorize(self, query: dict[str, str]) -> str:
        """The address that a browser goes back to after somebody agreed."""
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        back = {"code": code, "state": query["state"], **self.on_the_way_back}
        return f"{query['redirect_uri']}?{urlencode({k: v for k, v in back.items() if v})}"

    def exchange(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The answer of the token endpoint."""
        self.forms.append(form)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        begun = self.codes.get(form.get("code", ""))
        if begun is None or begun["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant", "error_description": "the code is not known"}
        proof = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if begun["code_challenge_method"] != "S256" or begun["code_challenge"] != _b64(proof):
            return 400, {"error": "invalid_grant", "error_description": "PKCE"}
        if not self.codes_last:
            del self.codes[form["code"]]
        token = self.token(begun["nonce"])
        return 200, {"access_token": "opaque-access", "token_type": "Bearer", "id_token": token}

    def token(self, nonce: str) -> str:
        now = int(time.time())
        usual: dict[str, Any] = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "s-1", "nonce": nonce}
        usual |= {"iat": now, "exp": now + 300, "email": "ann@example.com", "groups": ["ops"]}
        claims = {name: one for name, one in (usual | self.claims).items() if one is not None}
        return self.signer.sign(claims, **self.header)


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        path, query = self._asked()
        if path == "/.well-known/openid-configuration":
            self._send(200, json.dumps(self.provider.document()).encode())
        elif path == "/jwks":
            keys = [key.jwk for key in self.provider.published]
            self._send(200, json.dumps({"keys": keys}).encode())
        elif path == "/authorize" and "agreed" in query:
            self._send(302, b"", location=self.provider.authorize(query))
        elif path == "/authorize":
            link = f"{self.path}&agreed=1"
            page = f"<title>Provider</title><a href='{escape(link)}'>Continue as Ann</a>"
            self._send(200, page.encode(), kind="text/html")
        elif path == "/leave":
            page = (
                f"<title>Left</title><a href='{escape(query['post_logout_redirect_uri'])}'>Back</a>"
            )
            self._send(200, page.encode(), kind="text/html")
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self._asked()
        status, values = self.provider.exchange(dict(parse_qsl(body)) | self._basic())
        self._send(status, json.dumps(values).encode())

    def _basic(self) -> dict[str, str]:
        kind, _, given = self.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return {}
        client_id, _, secret = base64.b64decode(given).decode().partition(":")
        return {"client_id": client_id, "client_secret": secret}

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        self.provider.asked.append(parts.path)
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _send(self, status: int, body: bytes, kind: str = "application/json", **more: str) -> None:
        status, body = self.provider.answers.get(urlsplit(self.path).path, (status, body))
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def provider_on_loopback() -> Iterator[Provider]:
    """A provider at a free port while the block runs."""
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _json(value: Any) -> str:
    return _b64(json.dumps(value).encode())


def _number(value: int, size: int) -> str:
    return _b64(value.to_bytes(size, "big"))


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
