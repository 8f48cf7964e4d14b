"""The alert rules and their promtool tests, as the tests of this folder read them."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.exposition import ProcessState, ReplicaUse, exposition
from gateway.flows.health.overview import Overview
from gateway.store.database import PoolUse

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy/monitoring"
RULES = MONITORING / "alerts.yaml"
UNIT_TESTS = sorted((MONITORING / "tests").glob("*.yaml"))
PACKAGE = "Debian's package prometheus has it; as root, .ci/real-servers installs it"


def rules() -> list[dict[str, Any]]:
    """Every rule, in order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Every rule that alerts; an alert with two severities has two."""
    return [rule for rule in rules() if "alert" in rule]


def unit_tests() -> Iterator[dict[str, Any]]:
    """Every test group of promtool."""
    for page in UNIT_TESTS:
        yield from yaml.safe_load(page.read_text())["tests"]


def page_of(alert: str) -> str:
    """The runbook of an alert: GatewayNoWorker has docs/runbooks/gateway-no-worker.md."""
    return f"docs/runbooks/{re.sub('(?<!^)(?=[A-Z])', '-', alert).lower()}.md"


def named_metrics(text: str) -> set[str]:
    """The metrics that a text names, without the suffixes of histograms."""
    found = re.findall(r"\bgw_[a-z_]+", text)
    return {re.sub(r"(_seconds|_share)_(bucket|count|sum)$", r"\1", name) for name in found}


def our_metrics() -> set[str]:
    """The metrics on the page of an API process."""
    process = ProcessState(True, True, PoolUse(1, 0, 0), 0.0, 0.0, ReplicaUse(True, 0.0))
    page = exposition(process, Overview({}, [], [], {}, None, None)).decode()
    return set(re.findall(r"^# TYPE (gw_\w+)", page, re.MULTILINE))


def program(name: str) -> str:
    """Where a program of Prometheus is; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {PACKAGE}")
    return found
