"""The bench runs, and its report has the shape that readers of the JSON rely on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import GOALS
from tests.bench.harness.parts import ROOT, bare_environment


def _run(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The report of a quick run and what it printed; nothing else is left in the folder."""
    answer = folder / "report.json"
    command = (sys.executable, "-m", "tests.bench", "--quick", *arguments, "--json", str(answer))
    run = subprocess.run(
        command,
        env={**bare_environment(), "TMPDIR": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert run.returncode == 0, run.stderr
    assert list(folder.iterdir()) == [answer]
    report = json.loads(answer.read_text())
    assert report["failures"] == []
    return report, run.stdout


def test_a_short_drain_is_reported(tmp_path: Path) -> None:
    report, printed = _run(tmp_path, "--only", "drain", "--jobs", "50")
    assert report["drain"]["jobs"] == 50
    assert set(report["drain"]["cpuMsPerJob"]) == {
        *("worker", "postgres", "valkey", "simulator", "receiver")
    }
    # Every job costs a submit, a commit and a wake-up's share, or something was not counted.
    assert report["drain"]["upstreamCallsPerJob"] >= 1
    assert report["drain"]["upstreamCalls"]["submit"] == 50
    assert report["drain"]["transactionsPerJob"]["drain"] > 0
    assert report["drain"]["valkeyCommandsPerJob"] > 0
    judged = [figure["figure"] for figure in report["figures"]]
    assert judged == [place for place in GOALS if place.startswith("drain.")]
    assert [figure["figure"] for figure in report["figures"] if figure["value"] < 0] == []
    assert "drain by one worker" in printed


def test_a_small_burst_is_reported_beside_plain_arq(tmp_path: Path) -> None:
    report, printed = _run(tmp_path, "--only", "burst", "--scenarios", "burst300")
    burst = report["burst"]
    assert set(burst) == {"burst300", "plainArq"}
    for row in burst.values():
        assert row["upstreamCalls"]["submit"] == row["submits"] == row["jobs"]
        assert row["withoutWebhook"] == 0
        assert 0 < row["addedSeconds"]["p50"] <= row["addedSeconds"]["most"]
    assert burst["plainArq"]["upstreamCallsPerJob"] > burst["burst300"]["upstreamCallsPerJob"]
    assert burst["burst300"]["notEnded"] == burst["burst300"]["inDoubt"] == 0
    judged = [figure["figure"] for figure in report["figures"]]
    assert judged == [place for place in GOALS if place.startswith("burst.burst300.")]
    assert "300 at once, p50 to plain arq's" in printed


def test_each_page_of_the_console_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWS", "5000")
    report, printed = _run(tmp_path, "--only", "pages")
    pages = report["pages"]["pages"]
    assert set(pages) == {"all tenants", "tenant-0000"}
    for rows in pages.values():
        for row in rows.values():
            assert 0 < row["p50Ms"] <= row["p95Ms"] <= row["p99Ms"]
    # What is measured has something to show: an empty list is a smaller page.
    for name in ("jobs", "deliveries", "endpoints", "bulk", "activity", "dead letters"):
        assert (
            pages["all tenants"][name]["bytes"] > 2 * pages["all tenants"]["jobs, nothing"]["bytes"]
        )
    judged = [figure["figure"] for figure in report["figures"]]
    assert judged == [place for place in GOALS if place.startswith("pages.")]
    assert "slowest page of the console" in printed
