"""The night exercise is told whole: each fault in the table of the page, each alert's runbook with its finding."""

import re
from pathlib import Path

import pytest

from tests.deploy.rules import alerts, page_of
from tests.faults.night.table import FAULTS

ROOT = Path(__file__).parents[2]
_PAGE = ROOT / "docs/runbooks/README.md"
_LEAST = 20


def _told() -> list[str]:
    section = _PAGE.read_text().partition("## The night exercise")[2]
    return re.findall(r"^\| (?!fault|---)([^|]+?) \|", section, re.MULTILINE)


def test_there_are_twenty_faults_or_more_and_no_two_are_the_same() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= _LEAST
    assert len({fault.inject for fault in FAULTS}) == len(FAULTS)


def test_the_page_tells_of_each_in_order() -> None:
    assert _told() == [fault.name for fault in FAULTS]


def test_each_alert_exists() -> None:
    known = {rule["alert"] for rule in alerts()}
    assert {fault.alert for fault in FAULTS if fault.alert} <= known


@pytest.mark.parametrize("alert", sorted({fault.alert for fault in FAULTS if fault.alert}))
def test_the_runbook_of_an_alert_shows_what_the_doctor_says(alert: str) -> None:
    words = [fault.words for fault in FAULTS if fault.alert == alert]
    shown = _of_doctor(ROOT / page_of(alert))
    assert any(re.search(one, line) for one in words for line in shown)


def test_no_runbook_shows_what_the_doctor_does_not_say() -> None:
    pages = sorted(_PAGE.parent.glob("gateway-*.md"))
    for page in pages:
        for line in _of_doctor(page):
            assert any(
                fault.subject in line and re.search(fault.words, line) for fault in FAULTS
            ), line
    assert sum(bool(_of_doctor(page)) for page in pages) >= _LEAST // 2


def _of_doctor(page: Path) -> list[str]:
    """The findings that a page shows."""
    blocks = page.read_text().split("```")[1::2]
    lines = [line for block in blocks if "$ gateway doctor" in block for line in block.splitlines()]
    return [line for line in lines if line.startswith(("ERROR ", "WARNING "))]
