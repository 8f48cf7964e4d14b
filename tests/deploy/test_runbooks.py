"""The runbooks: each alert has one, and each is complete."""

import re
from pathlib import Path

import pytest

from tests.deploy.rules import ROOT, alerts, page_of

FOLDER = ROOT / "docs/runbooks"
INDEX = FOLDER / "README.md"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page != INDEX)
SECTIONS = [
    "What it means",
    "What users notice",
    "How to see why",
    "What to do",
    "How to prevent it",
]


def _severities(alert: str) -> list[str]:
    return [rule["labels"]["severity"] for rule in alerts() if rule["alert"] == alert]


def test_each_alert_has_its_page_and_each_page_an_alert() -> None:
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert pages == {page_of(rule["alert"]) for rule in alerts()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_every_section(page: Path) -> None:
    text = page.read_text()
    title, severities = re.findall(r"\A# (\w+)\n\nSeverity: ([a-z, ]+)\. ", text)[0]
    assert page_of(title) == page.relative_to(ROOT).as_posix()
    assert severities.split(", ") == _severities(title)
    sections = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    assert sections[::2] == SECTIONS
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        assert body.strip().endswith((".", "```")), heading
    assert "`" in sections[5], "no command shows why"
    said_by_us = re.sub(r"```console\n\$ gateway doctor\n.*?```", "", text, flags=re.DOTALL)
    assert "SELECT" not in said_by_us, "the doctor or another page says it"


def test_the_index_lists_every_page_with_its_severity() -> None:
    listed = re.findall(
        r"^\| \[(\w+)\]\(([\w-]+\.md)\) \| ([a-z, ]+) \|", INDEX.read_text(), re.MULTILINE
    )
    assert sorted(name for _, name, _ in listed) == [page.name for page in PAGES]
    for alert, _, severities in listed:
        assert severities.split(", ") == _severities(alert), alert
