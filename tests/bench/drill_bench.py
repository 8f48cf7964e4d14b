"""The bench runs, and its report has the shape that readers of the JSON rely on."""

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import GOALS
from tests.bench.parts import ROOT, bare_environment


def test_a_short_drain_is_reported(tmp_path: Path) -> None:
    answer = tmp_path / "report.json"
    command = (sys.executable, "-m", "tests.bench", "--quick", "--only", "drain", "--jobs", "50")
    run = subprocess.run(
        (*command, "--json", str(answer)),
        env={**bare_environment(), "TMPDIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(answer.read_text())
    assert report["failures"] == []
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
    assert "drain by one worker" in run.stdout
    assert list(tmp_path.iterdir()) == [answer]
