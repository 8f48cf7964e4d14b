"""The size of JSON as Postgres stores it, and the numbers that are refused."""

import pytest

from gateway.core.text.stored_json import is_surely_short, misfit, stored_bytes

CAP = 16_384


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('{"a":1}', 8),
        ('{ "a" :\n1 }', 8),
        ('{"a":"\\u00e9"}', 11),
        ('{"a":1e3}', 11),
        ('{"a":1e300}', 308),
        ('{"a":-1.5E+3}', 12),
        ('{"a":1e-5}', 14),
        ('{"a":12.50}', 12),
        ('{"a":0e-40}', 49),
        ('{"a":[1,2,3]}', 16),
        ('{"a":"1e300"}', 14),
        ('{"a":' + "9" * 305 + "}", 312),
        ('{"a":0.' + "0" * 310 + "1}", 320),
    ],
)
def test_size(text: str, size: int) -> None:
    assert stored_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "is_short"),
    [
        ('{"a":[1,2,3],"c5":"e20"}', True),
        ('{"a":"' + "x" * (CAP // 2) + '"}', True),
        ('{"a":"' + "x" * CAP + '"}', False),
        ('{"a":"\u00e9"}', False),
        ('{"a":1e300}', False),
        ('{"a":1E+3}', False),
        ('{"a":' + "9" * 300 + "}", False),
    ],
)
def test_most_texts_are_surely_short(text: str, is_short: bool) -> None:
    assert is_surely_short(text, CAP) is is_short


@pytest.mark.parametrize(
    ("number", "place"),
    [
        ("1e400", ".a[1].b"),
        ("-1E+309", ".a[1].b"),
        ("1e-16000", None),
        ("1e99999999999999999999", ".a[1].b"),
        ("1e-99999999999999999999", ".a[1].b"),
        ("9" * 310, ".a[1].b"),
        ("0." + "0" * 400 + "1", None),
        ("1e308", None),
        ("1.7976931348623157e308", None),
        ("5e-324", None),
        ("0e-16000", None),
        ("0e400", None),
        ("12345678901234567890123", None),
        ("null", None),
        ('"1e400"', None),
    ],
)
def test_numbers_that_no_double_holds(number: str, place: str | None) -> None:
    assert misfit(f'{{"x":1e1,"n":null,"a":[{{}},{{"b":{number}}}]}}') == place


def test_most_texts_are_not_looked_into() -> None:
    assert misfit('{"a":[1.5,2]}') is None
