"""Reads foreign JSON so that the result can always be stored in Postgres.

The result has no NUL, no lone surrogates, no NaN and no numbers beyond Postgres's range. Text that is
not JSON gives None.
"""

import json
import math
import re
from collections.abc import Callable

# Beyond these limits Postgres refuses the number, or Python the conversion. Real numbers are smaller.
_MAX_DIGITS = 300
_MAX_EXPONENT = 300
# Left to right: an escaped backslash, a valid surrogate pair (both kept), NUL or a lone surrogate.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u0000|\\u[dD][89a-fA-F]..)", re.DOTALL
)
# msgspec's errors and UnicodeDecodeError are ValueErrors.
UNUSABLE = (ValueError, RecursionError)


def mended(body: bytes) -> bytes:
    """Return the JSON as UTF-8 without byte order mark, NUL and lone surrogates."""
    if not body.isascii():
        body = body.decode("utf-8-sig", errors="replace").encode()
    if b"\\" in body and b"\\u" in body:  # one byte is found 20 times faster than two
        body = _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
    return body


def parsed(body: bytes) -> object:
    """Parse mended JSON; None if it is invalid."""
    try:
        return _load(body.decode(), _ignore)
    except UNUSABLE:
        return None


def storable(text: str) -> str:
    """Return mended JSON, rewritten only if Postgres would refuse its numbers.

    Raises one of UNUSABLE.
    """
    odd: list[str] = []
    value = _load(text, odd.append)
    return json.dumps(value, ensure_ascii=False) if odd else text


def _load(text: str, note: Callable[[str], None]) -> object:
    def kept(token: str) -> str:
        note(token)
        return token

    def whole(token: str) -> int | str:
        return int(token) if len(token) <= _MAX_DIGITS else kept(token)

    def broken(token: str) -> float | str:
        return float(token) if _is_modest(token) else kept(token)

    return json.loads(text, parse_int=whole, parse_float=broken, parse_constant=note)


def _is_modest(token: str) -> bool:
    exponent = token.lower().partition("e")[2] or "0"
    if len(token) > _MAX_DIGITS or abs(int(exponent)) > _MAX_EXPONENT:
        return False
    return math.isfinite(float(token))


def _ignore(token: str) -> None:
    del token
