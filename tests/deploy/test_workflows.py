"""The workflows are valid, run nothing that can be replaced unnoticed, and have no more rights than needed."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.tools import tool

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def _steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@each_workflow
def test_it_has_the_form_of_a_workflow(workflow: Path) -> None:
    schema = ("--builtin-schema", "vendor.github-workflows")
    found = _run(tool("check-jsonschema"), *schema, str(workflow))
    assert found.returncode == 0, found.stdout


@each_workflow
def test_zizmor_finds_nothing(workflow: Path) -> None:
    found = _run(tool("zizmor"), "--offline", "--persona=auditor", "--no-progress", str(workflow))
    assert found.returncode == 0, found.stdout


@each_workflow
def test_every_action_is_pinned_by_commit_and_says_its_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())
    pinned = r"[\w./-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+"
    assert used
    assert [action for action in used if not re.fullmatch(pinned, action)] == []
    commits = {(action.split("@")[0], action.split("@")[1]) for action in used}
    assert len(commits) == len({name for name, _ in commits}), "one action at two commits"


@each_workflow
def test_it_runs_what_exists(workflow: Path) -> None:
    text = "\n".join(step.get("run", "") for step in _steps(workflow))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    scripts = re.findall(r"(?<!\S)(\.ci/[\w-]+)", text)
    assert scripts
    assert [path for path in scripts if not (ROOT / path).stat().st_mode & 0o111] == []
    assert set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) <= targets


def test_nothing_is_released_that_was_not_checked() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())["jobs"]
    needs = {name: job.get("needs", []) for name, job in jobs.items()}
    assert needs == {
        "check": [],
        "wheel": "check",
        "image": "check",
        "release": ["wheel", "image"],
    }
    assert {"run": ".ci/run"} in jobs["check"]["steps"]
