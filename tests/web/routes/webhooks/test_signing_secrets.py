"""Signing secrets: rotated, private keys never shown, public keys published."""

import base64
from typing import Any

import pytest

from gateway import webhooks
from gateway.webhooks import WebhookVerificationError
from tests.web.conftest import NOBODY, World, fields_of, problem
from tests.web.webhooks import HOOK

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SEED = "whsk_" + base64.b64encode(bytes(range(32))).decode()
_OWN = "whsec_" + base64.b64encode(bytes(range(24))).decode()


async def _made(world: World, slug: str, **fields: Any) -> dict[str, Any]:
    return await world.send("POST", "/v1/endpoint", slug, HOOK | fields)


async def _signed(world: World, slug: str, endpoint_id: str) -> tuple[dict[str, str], bytes]:
    """The headers and body of a webhook to an endpoint."""
    await world.send("POST", f"/v1/endpoint/{endpoint_id}/test", slug)
    sent = world.sender.sent.pop()
    return dict(sent.headers), sent.body


def _as_jwk_x(public_key: str) -> str:
    raw = base64.b64decode(public_key.removeprefix("whpk_"))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TestPublicKeys:
    async def test_of_a_v1a_endpoint_only_the_public_key_is_shown(
        self, world: World, acme: str
    ) -> None:
        made = await _made(world, acme, algorithm="v1a")

        assert made["algorithm"] == "v1a"
        assert "secret" not in made
        headers, body = await _signed(world, acme, made["id"])
        assert headers["webhook-signature"].startswith("v1a,")
        webhooks.verify(body, headers, made["publicKey"])
        read = await world.get(f"/v1/endpoint/{made['id']}", acme)
        assert not {"secret", "publicKey", "jwksUrl"} & read.keys()

    async def test_they_need_no_access_key(self, world: World, acme: str) -> None:
        made = await _made(world, acme, algorithm="v1a", secret=_SEED)
        await _made(world, acme, algorithm="v1a")
        await _made(world, acme)

        answer = await world.call("GET", made["jwksUrl"])

        assert answer.headers["cache-control"] == "public, max-age=300"
        (key,) = answer.json()["keys"]
        assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA")
        assert key["x"] == _as_jwk_x(made["publicKey"])
        assert "d" not in key
        for path in ("/.well-known/jwks.json", "/v1/.well-known/jwks.json"):
            same = await world.call("GET", f"{path}?endpoint={made['id']}")
            assert same.json() == {"keys": [key]}
            body = problem(await world.call("GET", path), 400, "BAD_REQUEST")
            assert fields_of(body) == ["endpoint"], "nobody lists the keys of all"

    async def test_unknown_ids_have_none(self, world: World, acme: str) -> None:
        made = await _made(world, acme, algorithm="v1a")
        await world.send("DELETE", f"/v1/endpoint/{made['id']}", acme)

        for endpoint_id in (NOBODY, made["id"]):
            answer = await world.call("GET", f"/.well-known/jwks.json?endpoint={endpoint_id}")
            assert answer.json() == {"keys": []}

    async def test_they_are_those_of_an_endpoint_or_of_a_tenant(self, world: World) -> None:
        answer = await world.call(
            "GET", f"/.well-known/jwks.json?tenant={NOBODY}&endpoint={NOBODY}"
        )

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["tenant"]

    @pytest.mark.parametrize("query", ["endpoint=nope", "endpoint=", "tenant=acme", "color=red"])
    async def test_the_query_is_checked(self, world: World, query: str) -> None:
        answer = await world.call("GET", f"/.well-known/jwks.json?{query}")

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [query.partition("=")[0]]


class TestRotation:
    async def test_both_secrets_sign_until_the_overlap_is_over(
        self, world: World, acme: str
    ) -> None:
        made = await _made(world, acme)
        path = f"/v1/endpoint/{made['id']}/rotate-secret"

        second = await world.send("POST", path, acme)

        assert second.keys() == {"secret"}
        headers, body = await _signed(world, acme, made["id"])
        for secret in (made["secret"], second["secret"]):
            webhooks.verify(body, headers, secret)
        given = {"overlapSeconds": 0, "secret": _OWN}
        assert await world.send("POST", path, acme, given) == {"secret": _OWN}
        headers, body = await _signed(world, acme, made["id"])
        webhooks.verify(body, headers, _OWN)
        for secret in (made["secret"], second["secret"]):
            with pytest.raises(WebhookVerificationError):
                webhooks.verify(body, headers, secret)

    async def test_null_is_the_default(self, world: World, acme: str) -> None:
        made = await _made(world, acme)
        given = dict.fromkeys(["overlapSeconds", "secret", "algorithm"])

        second = await world.send("POST", f"/v1/endpoint/{made['id']}/rotate-secret", acme, given)

        headers, body = await _signed(world, acme, made["id"])
        for secret in (made["secret"], second["secret"]):
            webhooks.verify(body, headers, secret)

    async def test_an_endpoint_moves_to_ed25519(self, world: World, acme: str) -> None:
        made = await _made(world, acme)

        rotated = await world.send(
            "POST", f"/v1/endpoint/{made['id']}/rotate-secret", acme, {"algorithm": "v1a"}
        )

        assert rotated.keys() == {"publicKey", "jwksUrl"}
        headers, body = await _signed(world, acme, made["id"])
        for secret in (made["secret"], rotated["publicKey"]):
            webhooks.verify(body, headers, secret)
        keys = (await world.call("GET", rotated["jwksUrl"])).json()["keys"]
        assert [key["x"] for key in keys] == [_as_jwk_x(rotated["publicKey"])]

    async def test_wrong_fields_are_named(self, world: World, acme: str) -> None:
        made = await _made(world, acme)
        bad: list[tuple[dict[str, Any], str]] = [
            ({"overlapSeconds": -1}, "overlapSeconds"),
            ({"overlapSeconds": 604_801}, "overlapSeconds"),
            ({"overlapSeconds": "5"}, "overlapSeconds"),
            ({"secret": "x"}, "secret"),
            ({"secret": _SEED}, "secret"),
            ({"secret": _OWN, "algorithm": "v1a"}, "secret"),
            ({"algorithm": "v2"}, "algorithm"),
            ({"overlap": 5}, "overlap"),
        ]

        for path in (f"{made['id']}/rotate-secret", "default-secret/rotate"):
            for fields, named in bad:
                answer = await world.call("POST", f"/v1/endpoint/{path}", acme, json=fields)
                assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [named], fields

        headers, body = await _signed(world, acme, made["id"])
        webhooks.verify(body, headers, made["secret"])
        assert " " not in headers["webhook-signature"]


class TestDefaultSecret:
    async def test_it_stays_until_it_is_rotated(self, world: World, acme: str) -> None:
        path = "/v1/endpoint/default-secret"
        first = await world.get(path, acme)

        assert first["secret"].startswith("whsec_")
        assert await world.get(path, acme) == first
        second = await world.send("POST", f"{path}/rotate", acme, {"overlapSeconds": 60})
        assert second != first
        assert await world.get(path, acme) == second

    async def test_a_private_key_is_not_shown(self, world: World, acme: str) -> None:
        path = "/v1/endpoint/default-secret"
        given = {"algorithm": "v1a", "secret": _SEED}

        rotated = await world.send("POST", f"{path}/rotate", acme, given)

        assert rotated.keys() == {"publicKey", "jwksUrl"}
        assert await world.get(path, acme) == rotated

    async def test_its_public_keys_are_listed_by_tenant(self, world: World, acme: str) -> None:
        rotate = "/v1/endpoint/default-secret/rotate"
        for slug in (acme, await world.tenant("globex")):
            await _made(world, slug, algorithm="v1a")
            await world.send("POST", rotate, slug, {"algorithm": "v1a", "overlapSeconds": 0})
        last = await world.send("POST", rotate, acme, {"algorithm": "v1a", "overlapSeconds": 60})
        shown = await world.get("/v1/endpoint/default-secret", acme)

        assert shown == last
        tenant_id = (await world.get("/v1/application", acme))["id"]
        assert last["jwksUrl"] == f"/.well-known/jwks.json?tenant={tenant_id}"
        keys = (await world.call("GET", last["jwksUrl"])).json()["keys"]
        assert len(keys) == 2
        assert keys[0]["x"] == _as_jwk_x(last["publicKey"])
