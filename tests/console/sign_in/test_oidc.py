"""Sign-in with OpenID Connect, against a provider that answers over HTTP."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio

from gateway.adapters.oidc.provider import OidcProvider, ProviderClient
from gateway.console.cookies import ATTEMPT, SESSION
from gateway.console.router import console_face
from gateway.core.crypto.cipher import Secret
from gateway.core.roles import Role
from gateway.core.sign_in.staff_rules import StaffRules
from gateway.embedded import free_port
from gateway.flows.admin import sessions
from gateway.flows.deps import Deps
from gateway.store.tenancy import audit
from gateway.store.tenancy.audit import AuditFilter
from gateway.web.app import create_app
from tests.fakes import FakeLimiter
from tests.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    EC,
    RSA,
    Provider,
    SigningKey,
    provider_on_loopback,
)
from tests.web.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = StaffRules("groups", {"ops": Role.OPERATOR, "help": Role.SUPPORT, "all": Role.VIEWER})
HOME = "https://gateway"


class Staff:
    """Somebody with a browser, before a gateway with a provider."""

    def __init__(self, client: httpx.AsyncClient, deps: Deps) -> None:
        self.client = client
        self.deps = deps

    async def begin(self, wanted: str = "/console") -> str:
        """The address at the provider that the browser is sent to."""
        answer = await self.client.get("/console/oidc/start", params={"next": wanted})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def agree(self, url: str) -> str:
        """The address here that the provider sends the browser back to."""
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(f"{url}&agreed=1")
        assert answer.status_code == 302, answer.text
        return answer.headers["location"].removeprefix(HOME)

    async def sign_in(self, wanted: str = "/console") -> httpx.Response:
        """The answer to the whole way there and back."""
        return await self.client.get(await self.agree(await self.begin(wanted)))

    async def session(self) -> sessions.Session:
        found = await sessions.find(self.deps, self.client.cookies[SESSION])
        assert found is not None
        return found


@pytest.fixture(scope="module")
def running_provider() -> Iterator[Provider]:
    with provider_on_loopback() as provider:
        yield provider


@pytest.fixture
def provider(running_provider: Provider) -> Provider:
    running_provider.reset()
    return running_provider


def client_at(issuer: str, secret: str = CLIENT_SECRET) -> ProviderClient:
    return ProviderClient(
        issuer=issuer,
        client_id=CLIENT_ID,
        client_secret=Secret(secret),
        scopes="openid email",
        redirect_uri=f"{HOME}/console/oidc/callback",
        left_uri=f"{HOME}/console/sign-in",
        name="Example <b>ID</b>",
    )


@asynccontextmanager
async def visiting(
    world: World, client: ProviderClient, rules: StaffRules, **changes: Any
) -> AsyncGenerator[Staff]:
    known = OidcProvider(client, world.deps.clock, user_agent="test")
    deps = replace(world.deps, identity_provider=known, staff_rules=rules, **changes)
    transport = httpx.ASGITransport(create_app(deps, faces=[console_face()]))
    try:
        async with httpx.AsyncClient(transport=transport, base_url=HOME) as made:
            yield Staff(made, deps)
    finally:
        await known.close()


@pytest_asyncio.fixture(loop_scope="module")
async def staff(world: World, provider: Provider) -> AsyncIterator[Staff]:
    async with visiting(world, client_at(provider.issuer), RULES) as one:
        yield one


def told(answer: httpx.Response) -> str:
    """The sentence of a page that refuses, which leads nobody in."""
    assert SESSION not in str(answer.headers.get_list("set-cookie"))
    assert answer.headers["content-type"].startswith("text/html")
    found = re.search(r'role="alert">(.*?)</p>', answer.text, re.DOTALL)
    assert found, answer.text
    return unescape(found[1])


async def test_somebody_signs_in_and_comes_to_the_page_that_was_asked_for(
    staff: Staff, provider: Provider
) -> None:
    answer = await staff.sign_in("/console/jobs?status=FAILED")
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/console/jobs?status=FAILED"
    session = await staff.session()
    assert (session.who, session.role, session.key_id) == ("ann@example.com", "operator", None)
    assert (session.kind, session.tenant) == ("console", None)
    assert ATTEMPT not in staff.client.cookies
    assert (await staff.client.get("/console")).status_code == 200


async def test_the_request_has_pkce_state_nonce_and_scopes(
    staff: Staff, provider: Provider
) -> None:
    first, second = [parse_qs(urlsplit(await staff.begin()).query) for _ in range(2)]
    assert first["response_type"] == ["code"]
    assert first["scope"] == ["openid email"]
    assert first["redirect_uri"] == [f"{HOME}/console/oidc/callback"]
    assert first["code_challenge_method"] == ["S256"]
    assert first["tenant"] == ["x"]  # of the provider's own address
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]


async def test_the_cookie_of_an_attempt_is_short_lived_and_hides_its_secrets(
    staff: Staff,
) -> None:
    answer = await staff.client.get("/console/oidc/start")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"} <= set(
        cookie.split("; ")
    )
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["state"][0] not in cookie
    assert query["nonce"][0] not in cookie


async def test_the_audit_log_names_the_person_the_issuer_and_the_subject(
    staff: Staff, provider: Provider
) -> None:
    provider.claims = {"sub": "subject-7", "email": "audited@example.com"}
    await staff.sign_in()
    session = await staff.session()
    async with staff.deps.db.single() as tx:
        wanted = AuditFilter(actions=["session.created"], actors=["audited@example.com"])
        (found,) = await audit.page(tx, wanted, before=None, limit=10)
    detail = json.loads(found.detail)
    assert found.subject == str(session.id)
    assert (detail["issuer"], detail["sub"]) == (provider.issuer, "subject-7")
    assert (detail["role"], detail["who"]) == ("operator", "audited@example.com")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", None])
async def test_either_way_to_prove_who_the_client_is(
    staff: Staff, provider: Provider, method: str | None
) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": [method] if method else None}
    assert (await staff.sign_in()).status_code == 303


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS256", "ES256"])
async def test_both_kinds_of_keys(staff: Staff, provider: Provider, key: SigningKey) -> None:
    provider.signer = key
    assert (await staff.sign_in()).status_code == 303


async def test_keys_are_read_again_after_a_rotation_and_not_before(
    staff: Staff, provider: Provider
) -> None:
    await staff.sign_in()
    await staff.sign_in()
    assert provider.asked.count("/jwks") == 1
    assert provider.asked.count("/.well-known/openid-configuration") == 1
    new = SigningKey("rsa-2")
    provider.published, provider.signer = [new], new
    assert (await staff.sign_in()).status_code == 303
    assert provider.asked.count("/jwks") == 2
    provider.signer = RSA  # the old one has gone
    answer = await staff.sign_in()
    assert answer.status_code == 401
    assert "no key of the provider signed it" in told(answer)


async def test_a_key_that_cannot_be_used_does_not_spoil_the_others(
    staff: Staff, provider: Provider
) -> None:
    broken: list[Any] = [
        {"kty": "RSA", "kid": "x"},
        {"kty": "ML-DSA"},
        7,
        {"kty": "oct", "k": "AA"},
    ]
    keys = [*broken, RSA.jwk]
    provider.answers = {"/jwks": (200, json.dumps({"keys": keys}).encode())}
    assert (await staff.sign_in()).status_code == 303


@pytest.mark.parametrize(
    ("header", "claims", "sentence"),
    [
        ({"alg": "none"}, {}, "signature"),
        ({"alg": "HS256"}, {}, "signature"),
        ({"alg": "HS256", "kid": None}, {}, "signature"),
        ({"kid": "other"}, {}, "no key of the provider"),
        ({"crit": ["x"], "x": 1}, {}, "signature"),
        ({}, {"nonce": "other"}, "for another sign-in"),
        ({}, {"nonce": None}, "for another sign-in"),
        ({}, {"aud": "other"}, "for another client"),
        ({}, {"aud": ["other"]}, "for another client"),
        ({}, {"aud": ["gateway", "other"]}, "for another client"),
        ({}, {"aud": ["gateway", "other"], "azp": "other"}, "for another client"),
        ({}, {"aud": None}, "for another client"),
        ({}, {"azp": "other"}, "for another client"),
        ({}, {"iss": "https://other.example"}, "from another issuer"),
        ({}, {"sub": None}, "names nobody"),
        ({}, {"sub": ""}, "names nobody"),
        ({}, {"exp": int(time.time()) - 3600}, "clocks"),
        ({}, {"iat": int(time.time()) + 3600}, "clocks"),
        ({}, {"nbf": int(time.time()) + 3600}, "clocks"),
        ({}, {"exp": "soon"}, "clocks"),
        ({}, {"iat": None}, "clocks"),
        ({}, {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "breaks the rules"),
    ],
)
async def test_a_token_that_is_not_to_be_trusted_is_refused(
    staff: Staff, provider: Provider, header: dict[str, Any], claims: dict[str, Any], sentence: str
) -> None:
    provider.header, provider.claims = header, claims
    answer = await staff.sign_in()
    assert answer.status_code == 401, answer.text
    assert sentence in told(answer)


async def test_a_token_for_several_clients_that_was_issued_to_this_one(
    staff: Staff, provider: Provider
) -> None:
    provider.claims = {"aud": ["gateway", "other"], "azp": "gateway"}
    assert (await staff.sign_in()).status_code == 303


async def test_a_changed_token_is_refused(staff: Staff, provider: Provider) -> None:
    url = await staff.agree(await staff.begin())
    nonce = provider.codes["code-0"]["nonce"]
    head, _, signature = provider.token(nonce).split(".")
    body = provider.token("other").split(".")[1]
    provider.answers = {
        "/token": (200, f'{{"id_token": "{head}.{body}.{signature}"}}'.encode()),
    }
    assert (await staff.client.get(url)).status_code == 401


@pytest.mark.parametrize(
    "body", ["{}", '{"id_token": 7}', '{"id_token": "x"}', '{"id_token": "a.b.c.d.e"}', "[]", "<p>"]
)
async def test_an_answer_without_a_token_is_no_fault_of_ours(
    staff: Staff, provider: Provider, body: str
) -> None:
    provider.answers = {"/token": (200, body.encode())}
    answer = await staff.sign_in()
    assert answer.status_code in (401, 502)
    assert told(answer)


async def test_the_state_is_good_for_one_session(staff: Staff, provider: Provider) -> None:
    provider.codes_last = True
    url = await staff.agree(await staff.begin())
    attempt = staff.client.cookies[ATTEMPT]
    assert (await staff.client.get(url)).status_code == 303
    await sessions.end(staff.deps, (await staff.session()).id)
    staff.client.cookies.clear()
    staff.client.cookies.set(ATTEMPT, attempt)
    answer = await staff.client.get(url)
    assert answer.status_code == 401
    assert "used already" in told(answer)


async def test_the_answer_to_another_browser_opens_nothing(
    staff: Staff, provider: Provider
) -> None:
    url = await staff.agree(await staff.begin())
    attempt = staff.client.cookies[ATTEMPT]
    for kept in ("", "x", "A" * 200, attempt[:-4] + "AAAA"):
        staff.client.cookies.clear()
        if kept:
            staff.client.cookies.set(ATTEMPT, kept)
        answer = await staff.client.get(url)
        assert answer.status_code == 401
        assert "This browser did not begin this sign-in" in told(answer)
    assert "/token" not in provider.asked


async def test_the_attempt_of_another_sign_in_does_not_fit(
    staff: Staff, provider: Provider
) -> None:
    url = await staff.agree(await staff.begin())
    await staff.begin()
    answer = await staff.client.get(url)
    assert answer.status_code == 401
    assert "began another one since" in told(answer)


async def test_an_attempt_has_ten_minutes(staff: Staff, provider: Provider, world: World) -> None:
    url = await staff.agree(await staff.begin())
    clock = world.deps.clock
    before = clock.offset
    clock.set_offset(before + timedelta(minutes=10, seconds=1))
    try:
        answer = await staff.client.get(url)
    finally:
        clock.set_offset(before)
    assert answer.status_code == 401
    assert "longer than 10 minutes" in told(answer)


async def test_what_the_provider_says_is_told_to_who_began_and_to_nobody_else(
    staff: Staff, provider: Provider
) -> None:
    provider.on_the_way_back = {
        "code": "",
        "error": "access_denied",
        "error_description": "<script>alert(1)</script>\u202e no",
    }
    url = await staff.agree(await staff.begin())
    answer = await staff.client.get(url)
    assert answer.status_code == 403
    assert "access_denied: <script>alert(1)</script>\\u202e no" in told(answer)
    assert "<script>alert" not in answer.text
    assert "access_denied" not in (await staff.client.get(url)).text  # the attempt has gone


async def test_an_answer_of_another_issuer_is_refused(staff: Staff, provider: Provider) -> None:
    provider.on_the_way_back = {"iss": "https://other.example"}
    answer = await staff.sign_in()
    assert answer.status_code == 401
    assert "/token" not in provider.asked


async def test_a_provider_that_names_itself_has_to(staff: Staff, provider: Provider) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    assert (await staff.sign_in()).status_code == 401
    provider.on_the_way_back = {"iss": provider.issuer}
    assert (await staff.sign_in()).status_code == 303


@pytest.mark.parametrize(
    ("metadata", "answers"),
    [
        ({"issuer": "https://other.example"}, {}),
        ({"issuer": None}, {}),
        ({"token_endpoint": "http://provider.example/token"}, {}),
        ({"jwks_uri": "javascript:alert(1)"}, {}),
        ({"authorization_endpoint": 7}, {}),
        ({}, {"/.well-known/openid-configuration": (500, b"{}")}),
        ({}, {"/.well-known/openid-configuration": (200, b"[]")}),
        ({}, {"/.well-known/openid-configuration": (200, b"[" * 100_000)}),
        ({}, {"/.well-known/openid-configuration": (200, b" " * 2_000_000)}),
        ({}, {"/.well-known/openid-configuration": (302, b"")}),
        ({}, {"/jwks": (200, b'{"keys": []}')}),
        ({}, {"/jwks": (200, b'{"keys": 7}')}),
        ({}, {"/jwks": (404, b"{}")}),
    ],
)
async def test_a_provider_that_cannot_be_used_is_told_at_once(
    staff: Staff, provider: Provider, metadata: dict[str, Any], answers: dict[str, Any]
) -> None:
    provider.metadata, provider.answers = metadata, answers
    answer = await staff.client.get("/console/oidc/start")
    assert answer.status_code == 502
    assert "Example" in told(answer)
    assert await staff.deps.identity_provider.check() is not None  # type: ignore[union-attr]


async def test_a_provider_that_is_away(world: World) -> None:
    gone = client_at(f"http://127.0.0.1:{free_port()}")
    async with visiting(world, gone, RULES) as staff:
        answer = await staff.client.get("/console/oidc/start?next=/console/jobs")
        assert answer.status_code == 502
        assert "cannot be reached" in told(answer)
        assert "/console/jobs" in answer.text
        assert (await staff.client.get("/console/sign-in")).status_code == 200
    (told_operators,) = [one for one in world.observer.seen if one[0] == "sign_in"]
    assert told_operators[1] == "away"
    assert "ConnectorError" in str(told_operators[2]["cause"])


async def test_people_who_wait_share_the_fault_of_a_provider(
    staff: Staff, provider: Provider
) -> None:
    provider.answers = {"/.well-known/openid-configuration": (500, b"{}")}
    answers = await asyncio.gather(*(staff.client.get("/console/oidc/start") for _ in range(9)))
    assert {one.status_code for one in answers} == {502}
    assert len(provider.asked) < 9
    provider.answers = {}
    assert (await staff.sign_in()).status_code == 303


async def test_a_provider_that_goes_away_meanwhile(staff: Staff, provider: Provider) -> None:
    await staff.sign_in()
    provider.answers = {
        "/.well-known/openid-configuration": (500, b""),
        "/token": (503, b"<p>away</p>"),
    }
    answer = await staff.sign_in()  # what it said of itself is kept
    assert answer.status_code == 502
    assert told(answer)


async def test_a_wrong_client_secret_is_a_matter_of_the_operators(
    world: World, provider: Provider
) -> None:
    wrong = client_at(provider.issuer, secret="wrong")
    async with visiting(world, wrong, RULES) as staff:
        answer = await staff.sign_in()
        assert answer.status_code == 403
        assert "does not accept the gateway as its client" in told(answer)


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["all"], "viewer"),
        (["all", "help"], "support"),
        (["other", "ops", "all"], "operator"),
        ("help", "support"),
    ],
)
async def test_the_highest_role_of_the_groups_counts(
    staff: Staff, provider: Provider, groups: Any, role: str
) -> None:
    provider.claims = {"groups": groups}
    await staff.sign_in()
    assert (await staff.session()).role == role


@pytest.mark.parametrize(
    "groups", [None, [], ["other"], ["other", "OPS"], 7, {"ops": 1}, [["ops"]]]
)
async def test_without_a_role_there_is_no_session(
    staff: Staff, provider: Provider, groups: Any
) -> None:
    provider.claims = {"groups": groups}
    answer = await staff.sign_in()
    assert answer.status_code == 403
    assert "the claim groups" in told(answer)


@pytest.mark.parametrize(
    ("claims", "who"),
    [
        ({"email": None, "preferred_username": "ann"}, "ann"),
        ({"email": None}, "s-1"),
        ({"email": "boss@example.com", "email_verified": False}, "s-1"),
        ({"email": "<script>alert(1)</script>"}, "<script>alert(1)</script>"),
        ({"email": "a\x00b\x1b[31m\u202ec"}, "a\\x00b\\x1b[31m\\u202ec"),
        ({"email": " \n"}, "s-1"),
        ({"email": "x" * 5_000}, "x" * 200),
        ({"email": "\ud800"}, "\\ud800"),
        ({"email": ["a@example.com"]}, "a@example.com"),
        ({"email": {"x": 1}}, "s-1"),
    ],
)
async def test_what_people_are_called(
    staff: Staff, provider: Provider, claims: dict[str, Any], who: str
) -> None:
    provider.claims = claims
    await staff.sign_in()
    assert (await staff.session()).who == who
    for path in ("/console", "/console/account", "/console/activity"):
        page = await staff.client.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/v1/job", "x" * 9000]
)
async def test_signing_in_leads_to_no_other_place(
    staff: Staff, provider: Provider, elsewhere: str
) -> None:
    assert (await staff.sign_in(elsewhere)).headers["location"] == "/console"


async def test_a_page_whose_address_is_too_long_is_not_come_back_to(staff: Staff) -> None:
    assert (await staff.sign_in("/console/" + "x" * 9_000)).headers["location"] == "/console"


async def test_attempts_are_limited(world: World, provider: Provider) -> None:
    client = client_at(provider.issuer)
    async with visiting(world, client, RULES, limiter=FakeLimiter(left=1)) as staff:
        url = await staff.agree(await staff.begin())
        for path in ("/console/oidc/start", url):
            answer = await staff.client.get(path)
            assert answer.status_code == 429
            assert "too many attempts" in told(answer)


async def test_no_log_line_has_a_token_or_a_code(
    staff: Staff, provider: Provider, world: World
) -> None:
    url = await staff.agree(await staff.begin())
    query = parse_qs(urlsplit(url).query)
    provider.claims = {"nonce": "other"}
    await staff.client.get(url)
    text = repr(world.observer.seen)
    assert "distrusted" in text
    for secret in (query["state"][0], query["code"][0], CLIENT_SECRET, "eyJ", "opaque-access"):
        assert secret not in text


async def test_signing_out_offers_to_leave_the_provider_too(
    staff: Staff, provider: Provider
) -> None:
    await staff.sign_in()
    csrf = (await staff.session()).csrf_token
    token = staff.client.cookies[SESSION]
    answer = await staff.client.post("/console/sign-out", data={"csrf": csrf})
    page = await staff.client.get(answer.headers["location"])
    link = re.search(r'href="([^"]*/leave[^"]*)"', page.text)
    assert link
    query = parse_qs(urlsplit(unescape(link[1])).query)
    assert query["client_id"] == [CLIENT_ID]
    assert query["post_logout_redirect_uri"] == [f"{HOME}/console/sign-in"]
    assert await sessions.find(staff.deps, token) is None


@pytest.mark.parametrize("leave", [None, "javascript:alert(1)", 7])
async def test_a_provider_without_a_page_to_leave(
    staff: Staff, provider: Provider, leave: Any
) -> None:
    provider.metadata = {"end_session_endpoint": leave}
    page = await staff.client.get("/console/sign-in?left=provider")
    assert page.status_code == 200
    assert "You are signed out here" not in page.text


async def test_the_page_to_sign_in_has_a_button_beside_the_form(staff: Staff) -> None:
    page = (await staff.client.get("/console/sign-in?next=/console/jobs%3Fa%3D1%26b%3D2")).text
    assert 'href="/console/oidc/start?next=/console/jobs%3Fa%3D1%26b%3D2"' in page
    assert "Sign in with <bdi>Example &lt;b&gt;ID&lt;/b&gt;</bdi>" in page
    assert 'name="key"' in page


@pytest.mark.parametrize("path", ["start", "callback"])
async def test_without_a_provider_there_is_no_such_page(
    client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.get(f"/console/oidc/{path}")).status_code == 404
    assert "Sign in with" not in (await client.get("/console/sign-in")).text


@pytest.mark.parametrize(
    "query",
    ["", "state=x", "state=%ff&code=%00", "state=%F0%9F%98%80&code=x", "error=" + "x" * 5_000],
)
async def test_no_callback_breaks_anything(staff: Staff, query: str) -> None:
    await staff.begin()
    answer = await staff.client.get(f"/console/oidc/callback?{query}")
    assert answer.status_code == 401
