"""Explains why a body is not JSON, with line and column, in plain English."""

import codecs
import re

# Of UTF-8 and UTF-16; a text in UTF-16 or UTF-32 without one has a NUL among its first bytes.
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PLACE = re.compile(r"(?:JSON is malformed: )?(.*?)(?: \(byte (\d+)\))?", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF_PAIR = "a \\u escape is one half of a pair without the other"
_CONTROL = "a control character, such as a line break, must be written as \\n or \\u000a"
_FOUR_DIGITS = "\\u must be followed by four hexadecimal digits"
_UNEXPECTED = frozenset({"invalid character", "object keys must be strings"})
# msgspec's messages, and what is shown instead; other messages are shown unchanged.
_WORDS = {
    "invalid character": "this is not the start of a JSON value",
    "object keys must be strings": "the name of a field must be in double quotes",
    "expected ','": "a comma is missing",
    "expected ',' or ']'": "a comma or the closing ] is missing",
    "expected ',' or '}'": "a comma or the closing } is missing",
    "expected ':'": "a colon is missing after the name of a field",
    "expected '\"'": "a double quote is missing",
    "trailing comma in array": "there is a comma in front of ]",
    "trailing comma in object": "there is a comma in front of }",
    "trailing characters": "there is more text after the end of the JSON value",
    "invalid number": "this is not a number as JSON writes them",
    "invalid escaped character": _CONTROL,
    "invalid escape character in string": 'a backslash must be followed by one of " \\ / b f n r t u',
    "invalid character in unicode escape": _FOUR_DIGITS,
    "unexpected end of hex escape": _FOUR_DIGITS,
    "invalid utf-16 surrogate pair": _HALF_PAIR,
    "unexpected end of escaped utf-16 surrogate pair": _HALF_PAIR,
}
# What stands where a value or a name should begin, and the hint for it.
_HINTS = (
    (b"'", "strings are in double quotes, not in single ones"),
    (b"/", "JSON has no comments"),
    (b"#", "JSON has no comments"),
    (b"}", "there is a comma in front of }"),
    (b"]", "there is a comma in front of ]"),
    (b"True", "write true in lower case"),
    (b"False", "write false in lower case"),
    (b"None", "write null"),
    (b"NaN", "NaN is not a number in JSON"),
    (b"Infinity", "Infinity is not a number in JSON"),
    (b"-Infinity", "-Infinity is not a number in JSON"),
    (b"undefined", "write null"),
    (b"+", "a number begins with a digit or -"),
    (b".", "a number begins with a digit or -"),
)


def broken_json(error: Exception, raw: bytes) -> str:
    """One sentence about a malformed body; `error` is what parsing it raised."""
    if not raw.strip():
        return "The body is empty; it must be a JSON object."
    if raw.startswith(_MARKS) or b"\0" in raw[:4]:
        return "The body must be UTF-8 without a byte order mark; this is another encoding, or has one."
    if isinstance(error, UnicodeDecodeError):
        return "The body is not valid UTF-8."
    match = _PLACE.fullmatch(str(error))
    said, at = (match[1], match[2]) if match else (str(error), None)
    if at is None:
        reason = _HALF_PAIR if _SURROGATE.search(raw) else "it ends too early"
        return f"The body is not valid JSON: {reason}."
    place = min(int(at), len(raw))
    line = raw.count(b"\n", 0, place) + 1
    column = place - raw.rfind(b"\n", 0, place)
    reason = _reason(said, raw[place : place + 16])
    return f"The body is not valid JSON: line {line}, column {column}: {reason}."


def _reason(said: str, rest: bytes) -> str:
    if said in _UNEXPECTED:
        if rest[:1] < b" ":
            return _CONTROL
        for start, words in _HINTS:
            if rest.startswith(start):
                return words
    return _WORDS.get(said, said)
