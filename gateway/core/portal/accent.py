"""The accent colour of a portal: text and buttons in it must be readable on the page (WCAG 2.2, 1.4.3)."""

import re
from typing import Literal

Mode = Literal["light", "dark", "auto"]

# The backgrounds that the accent stands on.
LIGHT, DARK = "#ffffff", "#16181d"
LEAST_CONTRAST = 4.5

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


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB
