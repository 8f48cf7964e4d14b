"""The accent colour of a portal: text and buttons in it must be readable on the page (WCAG 2.2, 1.4.3)."""

import re
from typing import Literal, cast, get_args

Mode = Literal["light", "dark", "auto"]

# The backgrounds that the accent stands on.
LIGHT, DARK = "#ffffff", "#16181d"
LEAST_CONTRAST = 4.5
_STEPS = 20
_MIDDLE = 0.5
# The backgrounds of pages on which an accent is hardest to read.
_PALEST, _DARKEST_LIT = "#f0f2f4", "#23272c"

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def why_no_accent(colour: str, mode: Mode) -> str | None:
    """Why a colour cannot be the accent of a page in this mode; None where it can.

    In the mode auto it is checked on the light page; on a dark page, pages lighten it.
    """
    if not _COLOUR.fullmatch(colour):
        return "must be a colour such as #1f6feb"
    background, name = (DARK, "dark") if mode == "dark" else (LIGHT, "light")
    found = contrast(colour, background)
    if found >= LEAST_CONTRAST:
        return None
    turn = "lighter" if mode == "dark" else "darker"
    return (
        f"has a contrast of {found:.2f} on the {name} page; text needs {LEAST_CONTRAST}:"
        f" choose a {turn} colour"
    )


def accent_style(colour: str, mode: str) -> str | None:
    """The style sheet that makes a colour the accent of pages; None unless it can be one in this mode."""
    if mode not in get_args(Mode) or why_no_accent(colour, cast("Mode", mode)) is not None:
        return None
    light, dark = readable_on(colour, _PALEST), readable_on(colour, _DARKEST_LIT)
    on_light, on_dark = _text_on(light), _text_on(dark)
    return (
        f":root{{--accent:light-dark({light},{dark});--on-accent:light-dark({on_light},{on_dark});"
        f"--focus:light-dark({light},{dark})}}"
    )


def readable_on(colour: str, background: str) -> str:
    """The colour, made lighter or darker in steps until text of it can be read on a background."""
    aim = "#000000" if _luminance(background) > _MIDDLE else "#ffffff"
    steps = (_mix(colour, aim, step / _STEPS) for step in range(_STEPS + 1))
    return next(mixed for mixed in steps if contrast(mixed, background) >= LEAST_CONTRAST)


def _text_on(colour: str) -> str:
    """White or black, whichever is easier to read on a colour."""
    return max(("#ffffff", "#000000"), key=lambda one: contrast(one, colour))


def _mix(colour: str, other: str, share: float) -> str:
    """A colour with a share of another one."""
    parts = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in parts)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(one / 255) for one in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _channels(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB
