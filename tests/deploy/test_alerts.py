"""The alert rules: Prometheus takes them, each is tested, and each names metrics that exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring import copies
from tests.deploy.rules import (
    MONITORING,
    ROOT,
    RULES,
    UNIT_TESTS,
    alerts,
    named_metrics,
    our_metrics,
    page_of,
    program,
    rules,
    unit_tests,
)

# What depends on receivers, whom only their tenant can mend.
_OF_RECEIVERS = {
    "gw_endpoints_failing",
    "gw_webhook_attempts_total",
    "gw_webhook_attempt_duration_seconds",
    "gw_webhook_end_to_end_seconds",
}
_KEYS = [(rule["alert"], rule["labels"]["severity"]) for rule in alerts()]


def _run(name: str, *arguments: str) -> str:
    done = subprocess.run((program(name), *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in _run("promtool", "check", "rules", str(RULES))


@pytest.mark.parametrize("page", UNIT_TESTS, ids=lambda page: page.stem)
def test_the_rules_do_what_their_tests_expect(page: Path) -> None:
    assert "SUCCESS" in _run("promtool", "test", "rules", str(page))


def test_alertmanager_takes_the_sample() -> None:
    _run("amtool", "check-config", str(MONITORING / "alertmanager.yaml"))


def test_the_sample_silences_alerts_that_exist() -> None:
    text = (MONITORING / "alertmanager.yaml").read_text()
    named = set(re.findall(r"Gateway\w+", text))
    assert named
    assert named - {alert for alert, _ in _KEYS} == set()


def test_every_alert_has_a_severity_a_summary_and_a_runbook() -> None:
    assert len(set(_KEYS)) == len(_KEYS) > 20
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook"] == page_of(rule["alert"])


def test_a_receiver_pages_nobody() -> None:
    for rule in alerts():
        if rule["labels"]["severity"] == "critical":
            assert named_metrics(rule["expr"]) & _OF_RECEIVERS == set(), rule["alert"]


def _expectations(alert: str) -> Iterator[list[set[str]]]:
    """For each test group with an alert, the severities that are expected from time to time."""
    for group in unit_tests():
        checks = [one for one in group["alert_rule_test"] if one["alertname"] == alert]
        if checks:
            yield [
                {one["exp_labels"]["severity"] for one in check["exp_alerts"]} for check in checks
            ]


@pytest.mark.parametrize(("alert", "severity"), _KEYS)
def test_every_alert_is_seen_to_fire_to_stay_silent_and_to_resolve(
    alert: str, severity: str
) -> None:
    """promtool checks the three cases; this checks that nobody left one out."""
    groups = [[severity in seen for seen in checks] for checks in _expectations(alert)]
    assert any(any(group) for group in groups), "no test sees it fire"
    assert any(not any(group) for group in groups), "no test sees it stay silent"
    assert any(True in group and False in group[group.index(True) :] for group in groups), (
        "no test sees it resolve"
    )


def test_a_test_of_silence_feeds_the_metrics_of_its_alert() -> None:
    """Without them the alert would be silent for any rule."""
    expressions = {rule["alert"]: _written_out(rule["expr"]) for rule in alerts()}
    quiet = [group for group in unit_tests() if "stays silent" in group["name"]]
    assert len(quiet) >= len(expressions)
    for group in quiet:
        fed = named_metrics(" ".join(one["series"] for one in group["input_series"]))
        wanted = named_metrics(expressions[group["alert_rule_test"][0]["alertname"]])
        assert fed & wanted, group["name"]


def _written_out(expression: str) -> str:
    """An expression, followed by those of the recorded series that it names."""
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    named = [name for name in recorded if name in expression]
    return " ".join((expression, *(_written_out(recorded[name]) for name in named)))


def test_every_recorded_series_is_used() -> None:
    text = " ".join(rule["expr"] for rule in rules())
    assert [rule["record"] for rule in rules() if rule.get("record", "gw") not in text] == []


def test_every_metric_exists_and_is_explained() -> None:
    documented = (ROOT / "docs/metrics.md").read_text()
    for text in (RULES.read_text(), *(page.read_text() for page in UNIT_TESTS)):
        named = named_metrics(text)
        assert named
        assert named - our_metrics() == set()
        assert [name for name in named if f"`{name}`" not in documented] == []


def test_the_copies_are_as_made() -> None:
    source = RULES.read_text()
    message = "run: make rules"
    assert copies.CHART.read_text() == source, message
    made = copies.CUSTOM_RESOURCE.read_text()
    assert made == copies.custom_resource(source), message
    resource: dict[str, Any] = yaml.safe_load(made)
    assert (resource["apiVersion"], resource["kind"]) == (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
    )
    assert resource["spec"] == yaml.safe_load(source)
