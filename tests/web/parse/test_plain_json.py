"""JSON of callers: the same values and errors by either parser."""

from typing import Any

import msgspec
import pytest

from gateway.web.parse.plain_json import decode, decode_object
from tests.web.conftest import GOOD, World, fields_of, problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1e300", 1e300),
        (b"[-1.5E+100]", [-1.5e100]),
        (b'{"a":1e-400,"b":"x1e300","c":[null,true,{}]}', {"a": 0.0, "b": "x1e300", "c": [None, True, {}]}),
        (b'["\\u00e9\\ud83d\\ude00",1e100]', ["é😀", 1e100]),
        (b"[12345678901234567890123,1e100]", [12345678901234567890123, 1e100]),
        ('"é 1e100"'.encode(), "é 1e100"),
    ],
)  # fmt: skip
def test_values(text: bytes, value: Any) -> None:
    assert decode(text) == value
    assert type(decode(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        b"[1e400]",
        b"[-1e999]",
        b"[1e100," + b"1" * 5_000 + b"]",
        b'["\\ud800",1e100]',
        b'["\xff",1e100]',
        b"[NaN,1e100]",
        b"[-Infinity,1e100]",
        b"[1e100,]",
        b"[1e100",
    ],
)
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode(text)
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode(text.replace(b"1e100", b"1"))


@pytest.mark.parametrize("text", [b"[1e100]", b"1e100", b"[1]"])
def test_an_object_is_an_object(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError, match="Expected `object`"):
        decode_object(text)
    assert decode_object(b'{"a":1e100}') == {"a": 1e100}


@pytest.mark.asyncio(loop_scope="module")
async def test_numbers_with_large_exponents_are_kept_unchanged(world: World, acme: str) -> None:
    numbers = "1e300,1.7976931348623157e308,4.9e-324,-2.5E+100"
    params = f'{{"a":[{numbers}],"b":"x"}}'
    body = f'{{"name":"n","workflow":"{GOOD["workflow"]}","params":{params}}}'

    made = await world.call(
        "POST", "/v1/job", acme, content=body, headers={"Idempotency-Key": "large"}
    )
    again = await world.call(
        "POST", "/v1/job", acme, content=body + " ", headers={"Idempotency-Key": "large"}
    )

    shown = await world.call("GET", f"/v1/job/{made.json()['id']}", acme)
    assert f'"workflowParams":{params}' in shown.text
    assert (again.json(), again.headers["idempotency-replayed"]) == (made.json(), "true")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", ["1e400", "9" * 5_000])
async def test_a_number_beyond_doubles(world: World, acme: str, number: str) -> None:
    body = f'{{"name":"n","workflow":"w","params":{{"a":[1e300,{number}]}}}}'

    answer = await world.call("POST", "/v1/job", acme, content=body)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["params.a[1]"]
