"""Conditional requests: which entity tags match, and the answers 304 and 412."""

import pytest

from gateway.web.asgi.etags import names_tag
from tests.web.conftest import GOOD, NOBODY, World, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ('"3"', True),
        ('W/"3"', True),
        ('"99",W/"3" , "100"', True),
        (" * ", True),
        ("3", True),
        ("2, 3", True),
        ("W/3", True),
        ('"3-gzip"', True),
        ('W/"3-gzip"', True),
        ('"3--gzip"', True),
        ('"3;br"', True),
        ('"3-zstd", "x"', True),
        ('"3-df"', True),
        ("3-br", True),
        ('"33"', False),
        ('"13", W/"30"', False),
        ('"*"', False),
        ('"3x"', False),
        ('"3-4"', False),
        ('"3-beta"', False),
        ('"-gzip"', False),
        ('"1 3"', False),
        ("*, x", False),
        (',"', False),
        ("\xff", False),
    ],
)
async def test_which_entity_tags_match_a_version(known: str, expected: bool) -> None:
    assert names_tag(known, '"3"') is expected
    assert names_tag(known, 'W/"3"') is expected


@pytest.mark.parametrize("path", ["", "/status"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?wait=0.01"])
async def test_a_known_version_is_304(
    world: World, acme: str, path: str, method: str, query: str
) -> None:
    url = f"/v1/job/{await world.job(acme)}{path}{'' if path else query}"
    given = await world.call(method, url, acme)
    tag = given.headers["etag"]

    for known in (tag, f"W/{tag}", f'"0", {tag}', "*", tag[:-1] + '-gzip"'):
        answer = await world.call(method, url, acme, headers={"If-None-Match": known})

        assert (answer.status_code, answer.content) == (304, b""), known
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == given.headers["cache-control"]
        assert {"content-type", "content-length"}.isdisjoint(answer.headers)
        assert "x-request-id" in answer.headers
    other = await world.call(method, url, acme, headers={"If-None-Match": '"0"'})
    assert other.status_code == 200


async def test_tags_on_two_lines_are_one_list(world: World, acme: str) -> None:
    url = f"/v1/job/{await world.job(acme)}"
    headers = [
        ("Authorization", world.keys[acme]),
        ("If-None-Match", '"0"'),
        ("If-None-Match", '"1"'),
    ]

    assert (await world.client.get(url, headers=headers)).status_code == 304


async def test_an_unknown_job_is_404_and_not_304(world: World, acme: str) -> None:
    answer = await world.call("GET", f"/v1/job/{NOBODY}", acme, headers={"If-None-Match": "*"})

    problem(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("DELETE", "/v1/job/{}", {"If-Match": '"7"'}),
        ("POST", "/v1/job/{}/retry", {"If-Match": 'W/"1"'}),
        ("PATCH", "/v1/endpoint/{}", {"If-Match": '"1"'}),
    ],
)
async def test_a_conditional_change_is_refused(
    world: World, acme: str, method: str, path: str, header: dict[str, str]
) -> None:
    job_id = await world.job(acme)

    answer = await world.call(method, path.format(job_id), acme, headers=header)

    problem(answer, 412, "PRECONDITION_FAILED")
    assert (await world.get(f"/v1/job/{job_id}", acme))["id"] == job_id


async def test_a_put_with_if_none_match_is_refused(world: World, acme: str) -> None:
    answer = await world.call(
        "PUT",
        f"/admin/v1/tenant/{acme}/credential",
        world.operator,
        json={"apiKey": "another"},
        headers={"If-None-Match": "*"},
    )

    problem(answer, 412, "PRECONDITION_FAILED")


async def test_if_match_with_any_version_is_allowed(world: World, acme: str) -> None:
    job_id = await world.job(acme)

    answer = await world.call("DELETE", f"/v1/job/{job_id}", acme, headers={"If-Match": "*"})

    assert answer.status_code == 200


async def test_a_star_with_wait_means_the_current_version(world: World, acme: str) -> None:
    """`*` means the version at the time of the request."""
    job_id = await world.job(acme)

    answer = await world.call(
        "GET", f"/v1/job/{job_id}?wait=0.01", acme, headers={"If-None-Match": "*"}
    )

    assert answer.status_code == 304
    assert GOOD["name"] == (await world.get(f"/v1/job/{job_id}?wait=0.01", acme))["name"]
