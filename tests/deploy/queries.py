"""The queries of the Grafana boards, and the metrics and labels that they name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.rules import MONITORING

BOARDS = sorted((MONITORING / "grafana/dashboards").glob("*.json"))


def queries(page: Path) -> Iterator[str]:
    """Every query of a board, as Grafana sends it for a gateway without a namespace."""
    for panel in json.loads(page.read_text())["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m").replace("$namespace", ".*")
            assert "$" not in query
            yield query


def selectors(query: str) -> list[tuple[str, frozenset[str]]]:
    """The metrics of a query, each with the labels that are chosen."""
    reason = "promql-parser is not installed: make deploy-tools"
    parser: Any = pytest.importorskip("promql_parser", reason=reason)
    return list(_selectors(parser.parse(query)))


def _selectors(node: Any) -> Iterator[tuple[str, frozenset[str]]]:
    if hasattr(node, "matchers"):
        yield node.name, frozenset(one.name for one in node.matchers.matchers)
        return
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        if hasattr(node, part):
            yield from _selectors(getattr(node, part))
    for argument in getattr(node, "args", ()):
        yield from _selectors(argument)
