"""Conditional requests: which entity tags are equal, and what is answered to who has it all."""

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
async def test_which_entity_tags_name_a_version(known: str, expected: bool) -> None:
    assert names_tag(known, '"3"') is expected
    assert names_tag(known, 'W/"3"') is expected


@pytest.mark.parametrize("path", ["", "/status"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?wait=0.01"])
async def test_who_has_it_all_is_answered_304(
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


async def test_a_job_that_is_not_there_is_not_unmodified(world: World, acme: str) -> None:
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
async def test_a_change_on_a_condition_is_not_made(
    world: World, acme: str, method: str, path: str, header: dict[str, str]
) -> None:
    job_id = await world.job(acme)

    answer = await world.call(method, path.format(job_id), acme, headers=header)

    problem(answer, 412, "PRECONDITION_FAILED")
    assert (await world.get(f"/v1/job/{job_id}", acme))["id"] == job_id


async def test_a_credential_is_not_put_only_where_there_is_none(world: World, acme: str) -> None:
    answer = await world.call(
        "PUT",
        f"/admin/v1/tenant/{acme}/credential",
        world.operator,
        json={"apiKey": "another"},
        headers={"If-None-Match": "*"},
    )

    problem(answer, 412, "PRECONDITION_FAILED")


async def test_a_change_of_whatever_is_there_is_made(world: World, acme: str) -> None:
    job_id = await world.job(acme)

    answer = await world.call("DELETE", f"/v1/job/{job_id}", acme, headers={"If-Match": "*"})

    assert answer.status_code == 200


async def test_who_waits_for_anything_new_is_told_of_it(world: World, acme: str) -> None:
    """`*` stands for the version that there is when the request comes."""
    job_id = await world.job(acme)

    answer = await world.call(
        "GET", f"/v1/job/{job_id}?wait=0.01", acme, headers={"If-None-Match": "*"}
    )

    assert answer.status_code == 304
    assert GOOD["name"] == (await world.get(f"/v1/job/{job_id}?wait=0.01", acme))["name"]
