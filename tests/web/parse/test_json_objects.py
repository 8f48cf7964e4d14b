"""JSON objects of callers: they are stored unchanged, and limits apply to the stored form."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.text.stored_json import stored_bytes
from gateway.errors import BadRequest
from gateway.web.parse.json_objects import merged_metadata, read_metadata, read_object
from tests.web.conftest import GOOD, World, fields_of, problem

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_OBJECTS = st.dictionaries(st.text(), _VALUES, max_size=4)
_BOMBS = {
    "small": ("1e-16000,1e-16000", "metadata"),
    "tiny": ("1e-99999999999999999999", "metadata.a[0]"),
    "large": ("1e400", "metadata.a[0]"),
    "digits": ("9" * 400, "metadata.a[0]"),
    "many": (",".join(["1e308"] * 60), "metadata"),
    "fractions": (",".join(["1.5e-300"] * 60), "metadata"),
    "spaces": (",".join(["1"] * 8_000), "metadata"),
}


@settings(max_examples=40)
@given(_OBJECTS, _OBJECTS)
def test_metadata_of_the_request_overrides_that_of_the_tenant(
    tenant: dict[str, object], given_: dict[str, object]
) -> None:
    both = json.loads(merged_metadata(json.dumps(tenant), json.dumps(given_), given_.keys()))
    assert both == tenant | given_


def test_numbers_are_merged_unchanged() -> None:
    text = '{"b":1.10,"c":123456789012345678901234567890}'
    merged = merged_metadata('{"a":0.12345678901234567890,"b":2}', text, {"b", "c"})
    assert merged == '{"a":0.12345678901234567890,' + text[1:]


def test_spaces_do_not_count_towards_the_size() -> None:
    text, value = read_metadata(msgspec.Raw(b'{"a": ' + b" " * 20_000 + b"1}"))
    assert (len(text), value) == (20_008, {"a": 1})


def test_metadata_of_twice_the_size_is_refused_unread() -> None:
    with pytest.raises(BadRequest, match="40008 bytes"):
        read_metadata(msgspec.Raw(b'{"a": ' + b" " * 40_000 + b"1}"))


def test_a_number_is_not_searched_for_in_a_large_object() -> None:
    with pytest.raises(BadRequest, match="params: number out of range"):
        read_object("params", msgspec.Raw(b'{"a": ' + b" " * 70_000 + b"1e400}"))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", _BOMBS.values(), ids=_BOMBS)
async def test_metadata_that_is_too_large_when_stored(
    world: World, acme: str, case: tuple[str, str]
) -> None:
    numbers, field = case
    body = json.dumps(GOOD)[:-1] + f',"metadata":{{"a":[{numbers}]}}}}'
    for path, content in (
        ("job", body),
        ("batch", f'{{"name":"b","jobs":[{json.dumps(GOOD)},{body}]}}'),
    ):
        answer = await world.call("POST", f"/v1/{path}", acme, content=content)
        named = fields_of(problem(answer, 400, "BAD_REQUEST"))
        assert named == [field if path == "job" else f"jobs[1].{field}"]
    given = f'{{"slug":"x","name":"x","metadata":{{"a":[{numbers}]}}}}'
    answer = await world.call("POST", "/admin/v1/tenant", world.operator, content=given)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [field]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", ["large", "digits", "many", "fractions", "spaces"])
async def test_metadata_that_a_change_makes_too_large(world: World, acme: str, case: str) -> None:
    numbers, field = _BOMBS[case]
    change = f'{{"metadata":{{"a":[{numbers}]}}}}'
    path = f"/admin/v1/tenant/{acme}"
    answer = await world.call("PATCH", path, world.operator, content=change)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [field]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_number_out_of_range_in_params(world: World, acme: str) -> None:
    body = json.dumps(GOOD).replace('"inputUrl"', '"a":{"b":[0,1e400]},"inputUrl"')
    answer = await world.call("POST", "/v1/job", acme, content=body)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["params.a.b[1]"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "text",
    [
        '{"a":[1e308,-1.5e-300,0.10,1E5,12345678901234567890],"b":"\\u00e9\\n/\\"","c":{}}',
        '{"a":[0e-40,5e-324,true,null,[],{"x":{"y":[1.0e2]}}]}',
    ],
)
async def test_the_size_is_that_of_what_postgres_stores(world: World, text: str) -> None:
    async with world.deps.db.single() as tx:
        row = await tx.one("SELECT octet_length($1::text::jsonb::text)", text)
    assert stored_bytes(text) == row[0]


@pytest.mark.asyncio(loop_scope="module")
async def test_metadata_at_its_limit_is_not_longer_when_it_is_read(world: World, acme: str) -> None:
    given_: dict[str, Any] = {f"k{n}": [1.5e-100] * 9 for n in range(8)}
    job_id = await world.job(acme, metadata=given_)
    answer = await world.call("GET", f"/v1/job/{job_id}", acme)
    assert answer.json()["metadata"] == given_
    assert len(answer.content) < 16_384
