"""The accent of a portal: a colour that can be read on its page."""

import re

import pytest

from gateway.core.portal.accent import (
    DARK,
    LEAST_CONTRAST,
    LIGHT,
    Mode,
    accent_style,
    contrast,
    why_no_accent,
)


def test_the_contrast_of_black_on_white_is_21_in_both_directions():
    assert contrast("#000000", "#ffffff") == contrast("#FFFFFF", "#000000") == 21


# Values of WCAG's own calculation.
@pytest.mark.parametrize(
    ("colour", "expected"), [("#777777", 4.48), ("#767676", 4.54), ("#ff0000", 4.0)]
)
def test_the_contrast_is_that_of_wcag(colour: str, expected: float):
    assert contrast(colour, LIGHT) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("colour", "mode"),
    [("#1f4fd8", "light"), ("#1f4fd8", "auto"), ("#8AB4F8", "dark"), (DARK, "light")],
)
def test_a_readable_colour_passes(colour: str, mode: Mode):
    assert why_no_accent(colour, mode) is None


@pytest.mark.parametrize(
    ("colour", "mode", "told"),
    [
        (
            "#ffd400",
            "light",
            "has a contrast of 1.43 on the light page; text needs 4.5: choose a darker",
        ),
        ("#ffd400", "auto", "choose a darker colour"),
        ("#777777", "light", "has a contrast of 4.48 on the light page"),
        ("#1f2fd8", "dark", "on the dark page; text needs 4.5: choose a lighter colour"),
    ],
)
def test_a_colour_that_cannot_be_read_is_refused(colour: str, mode: Mode, told: str):
    assert told in (why_no_accent(colour, mode) or "")


@pytest.mark.parametrize(
    "colour", ["", "red", "#fff", "#12345g", "#1234567", "1f4fd8", "#1f4fd8\n"]
)
def test_anything_else_is_no_colour(colour: str):
    assert why_no_accent(colour, "auto") == "must be a colour such as #1f6feb"


@pytest.mark.parametrize(
    "colour", ["#1f4fd8", "#000000", "#767676", "#8a2be2", "#0a7a3f", "#b00020"]
)
def test_a_style_is_readable_on_light_and_dark_pages(colour: str) -> None:
    style = accent_style(colour, "auto")
    assert style is not None
    accents, texts, _ = re.findall(r"light-dark\((#\w{6}),(#\w{6})\)", style)
    for accent, text, pages in zip(
        accents, texts, (("#ffffff", "#f0f2f4"), ("#131518", "#23272c")), strict=True
    ):
        assert contrast(accent, text) >= LEAST_CONTRAST
        for page in pages:
            assert contrast(accent, page) >= LEAST_CONTRAST, (accent, page)


@pytest.mark.parametrize(
    ("colour", "mode"), [("#ffff00", "light"), ("red", "auto"), ("#1f4fd8", "sepia")]
)
def test_what_cannot_be_an_accent_has_no_style(colour: str, mode: str) -> None:
    assert accent_style(colour, mode) is None
