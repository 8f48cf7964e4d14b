"""The Grafana boards: they are as generated, and every query is valid and names what exists."""

import json
import re
from pathlib import Path

import pytest

from deploy.monitoring import boards
from tests.deploy.queries import BOARDS, queries, selectors
from tests.deploy.rules import named_metrics, our_metrics, rules

# Prometheus has the first itself, the others come from the client library.
_OTHERS = {"ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}


def test_the_boards_are_as_generated() -> None:
    assert [page.stem for page in BOARDS] == sorted(boards.BOARDS)
    for page in BOARDS:
        assert page.read_text() == boards.board(page.stem), "run: make boards"


@pytest.mark.parametrize("page", BOARDS, ids=lambda page: page.stem)
def test_every_query_names_series_that_exist(page: Path) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = {name for query in queries(page) for name, _ in selectors(query)}
    assert len(named) > 5
    strangers = named - recorded - _OTHERS
    assert named_metrics(" ".join(strangers)) - our_metrics() == set()
    assert [name for name in strangers if not name.startswith("gw_")] == []


def test_the_boards_show_every_metric() -> None:
    shown = named_metrics(" ".join(query for page in BOARDS for query in queries(page)))
    missing = {name for name in our_metrics() - shown if not name.endswith("_created")}
    assert missing == {
        "gw_sweeps_total",
        "gw_worker_heartbeat_age_seconds",
        "gw_database_restored_total",
    }


@pytest.mark.parametrize("page", BOARDS, ids=lambda page: page.stem)
def test_panels_do_not_overlap_and_legends_name_labels_of_their_query(page: Path) -> None:
    panels = json.loads(page.read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    for panel in panels:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert (
                    label == "instance"
                    or re.search(rf"\b{label}\b", target["expr"])
                    or (label == "state" and "pool_connections" in target["expr"])
                ), f"{panel['title']}: {label}"
