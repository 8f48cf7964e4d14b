"""The accent of a portal: a colour that can be read on its page."""

import pytest

from gateway.core.portal.accent import DARK, LIGHT, Mode, contrast, why_no_accent


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
