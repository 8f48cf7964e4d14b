import json
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.upstream_metadata import MARKER, with_marker

ID = UUID("01890000-0000-7000-8000-000000000001")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
INDENTS = st.sampled_from([None, 0, 2])


@settings(max_examples=40)
@given(OBJECTS, INDENTS, st.sampled_from(["", " ", "\n\t"]))
def test_the_marker_is_added_and_nothing_lost(
    given_: dict[str, object], indent: int | None, around: str
) -> None:
    text = around + json.dumps(given_, indent=indent) + around
    marked = with_marker(text, ID)
    assert json.loads(marked) == given_ | {MARKER: str(ID)}
    assert list(json.loads(marked, object_pairs_hook=list)[-1]) == [MARKER, str(ID)]


def test_the_marker_of_nothing() -> None:
    assert with_marker("{}", ID) == with_marker("{ \n }", ID) == f'{{"{MARKER}":"{ID}"}}'


def test_numbers_and_escapes_are_passed_on_as_they_are() -> None:
    text = r'{"n":1.10,"big":123456789012345678901234567890,"e":"\u00e9"}'
    assert with_marker(text, ID) == text[:-1] + f',"{MARKER}":"{ID}"}}'


def test_the_callers_own_marker_does_not_win() -> None:
    assert json.loads(with_marker(f'{{"{MARKER}":"mine"}}', ID)) == {MARKER: str(ID)}
