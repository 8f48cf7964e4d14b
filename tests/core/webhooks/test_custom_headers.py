import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.webhooks.custom_headers import (
    HIDDEN,
    MAX_HEADERS,
    MAX_TOTAL,
    MAX_VALUE,
    added,
    check,
    merged,
)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer abc", "X-Api-Key": "s3cr3t", "Cookie": "a=b"},
        {"User-Agent": "Acme/1"},
        {"x!#$%&'*+-.^_`|~9": ' !"~'[1:]},
        {"x-empty": ""},
        {"x-inner-space": "a  b"},
        {f"x-{i}": "v" for i in range(MAX_HEADERS)},
        {"x": "v" * MAX_VALUE},
    ],
    ids=lambda headers: ",".join(headers)[:30],
)
def test_good_headers_pass(headers: dict[str, str]) -> None:
    assert check(headers) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *(
            (name, "belongs to the connection")
            for name in (
                "Host",
                "content-length",
                "Transfer-Encoding",
                "Connection",
                "Keep-Alive",
                "TE",
                "Trailer",
                "Upgrade",
                "Expect",
                "HTTP2-Settings",
                "Proxy-Authorization",
                "proxy-connection",
                "Proxy-Anything",
            )
        ),
        ("Content-Type", "is fixed"),
        ("Content-Encoding", "is fixed"),
        ("Accept-Encoding", "is fixed"),
        ("webhook-id", "is reserved"),
        ("Webhook-Signature", "is reserved"),
        ("webhook-anything", "is reserved"),
        ("", "has a name with"),
        ("x y", "has a name with"),
        ("x:y", "has a name with"),
        ("x\r\ny", "has a name with"),
        ("x\n", "has a name with"),
        ("caf\u00e9", "has a name with"),
        ("\u212aeep-alive", "has a name with"),
        ("x" * 129, "has a name longer than 128"),
    ],
)
def test_a_bad_name_is_named_with_its_reason(name: str, reason: str) -> None:
    said = check({"x-good": "1", name: "1"})
    assert said is not None
    assert said.startswith(f"The header {name[:128]!r} ")
    assert reason in said


@pytest.mark.parametrize(
    "value",
    ["a\r\nb: c", "a\n", "\n", "a\x00", "a\x7f", "a\tb", " a", "a ", " ", "caf\u00e9", "\ud800"],
    ids=ascii,
)
def test_a_bad_value_is_refused_and_not_repeated(value: str) -> None:
    assert check({"X-A": value}) == (
        "The header 'X-A' has a value with other than printable ASCII, or with a space at its "
        "start or end."
    )


def test_sizes_are_bounded() -> None:
    assert check({f"x-{i}": "" for i in range(21)}) == "There are 21 headers; the most is 20."
    assert check({"x": "v" * (MAX_VALUE + 1)}) == (
        "The header 'x' has a value longer than 4096 characters."
    )
    full = {f"x{i}": "v" * (MAX_VALUE - 2) for i in range(4)}
    assert sum(len(name) + len(value) for name, value in full.items()) == MAX_TOTAL
    assert check(full) is None
    assert check({**full, "y": ""}) == (
        "The headers have 16385 characters together; the most is 16384."
    )


def test_case_does_not_make_two_headers() -> None:
    assert check({"X-A": "1", "x-a": "2"}) == (
        "The header 'x-a' is there twice; upper and lower case are the same."
    )


def test_a_header_of_the_tenants_stands_for_ours_of_that_name() -> None:
    ours = (("user-agent", "job-gateway/1"), ("webhook-id", "evt"))
    assert added(ours, {}) == ours
    assert added(ours, {"User-Agent": "Acme", "X-A": "1"}) == (
        ("webhook-id", "evt"),
        ("user-agent", "Acme"),
        ("x-a", "1"),
    )


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4))
def test_what_passes_is_one_line_each(headers: dict[str, str]) -> None:
    if check(headers) is None:
        lines = [f"{name}: {value}" for name, value in headers.items()]
        assert "".join(lines).isascii()
        assert "\n".join(lines).splitlines() == lines


@pytest.mark.parametrize(
    ("patch", "left"),
    [
        ({}, {"X-A": "1", "X-B": "2"}),
        ({"X-C": "3"}, {"X-A": "1", "X-B": "2", "X-C": "3"}),
        ({"x-a": "4"}, {"X-B": "2", "x-a": "4"}),
        ({"X-A": None, "X-Z": None}, {"X-B": "2"}),
        ({"X-A": HIDDEN, "x-b": HIDDEN}, {"X-A": "1", "X-B": "2"}),
        ({"X-C": HIDDEN}, {"X-A": "1", "X-B": "2", "X-C": HIDDEN}),
    ],
)
def test_headers_are_merged_whatever_their_case(
    patch: dict[str, str | None], left: dict[str, str]
) -> None:
    assert merged({"x-a": "1", "x-b": "2"}, ["X-A", "X-B"], patch) == left
