"""The console says of each error class what docs/errors.md says."""

from gateway.core.webhooks.failure_causes import CLASSES, failure_cause
from tests.conftest import ROOT


def test_the_causes_are_those_of_the_docs() -> None:
    text = (ROOT / "docs/errors.md").read_text()
    table = text.partition("## Why a webhook failed")[2].partition("\n\nOther statuses")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert [(name.strip("`"), cause, advice) for name, cause, advice in rows] == [
        (name, failure_cause(name).cause, failure_cause(name).what_to_do) for name in CLASSES
    ]


def test_an_unusual_status_has_a_general_cause() -> None:
    assert "no success" in failure_cause("http_9xx").cause
