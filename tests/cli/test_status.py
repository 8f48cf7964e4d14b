"""`gateway status` and `gateway queue`: what an operator looks at first."""

import json
import os
import signal
import time

import psutil

from tests.cli.commands import call
from tests.cli.conftest import Running


def test_a_gateway_that_is_well(running: Running) -> None:
    result = call("status", env=running.operator)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Status: ok")
    for word in ("worker", "api", "accepted", "postgres"):
        assert word in result.stdout


def test_status_as_json(running: Running) -> None:
    found = json.loads(call("status", "--json", env=running.operator).stdout)
    pids = {one["pid"] for one in found["processes"] if one["state"] == "ok"}
    facts = json.loads((running.folder / "dev.json").read_text())
    assert {*facts["pids"]["worker"], *facts["pids"]["api"]} <= pids


def test_the_queue(running: Running) -> None:
    result = call("queue", env=running.operator)
    assert result.exit_code == 0, result.output
    for word in ("Jobs", "Queues", "Workers", "deliver", "oldest"):
        assert word.lower() in result.stdout.lower()
    assert "queues" in json.loads(call("queue", "--json", env=running.operator).stdout)


def test_a_killed_worker_that_was_started_again_is_no_problem(running: Running) -> None:
    facts = json.loads((running.folder / "dev.json").read_text())
    killed = facts["pids"]["worker"]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while not _are_stale(running, killed):
        assert time.monotonic() < end
        time.sleep(0.2)
    result = call("status", env=running.operator)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert "stale" in result.stdout, "it is still shown"


def _are_stale(running: Running, pids: list[int]) -> bool:
    found = json.loads(call("status", "--json", env=running.operator).stdout)["processes"]
    return {one["state"] for one in found if one["pid"] in pids} == {"stale"}


def test_a_frozen_worker_is_a_problem_until_it_continues(running: Running) -> None:
    facts = json.loads((running.folder / "dev.json").read_text())
    workers = [psutil.Process(pid) for pid in facts["pids"]["worker"]]
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        while (result := call("status", env=running.operator)).exit_code == 0:
            assert time.monotonic() < frozen_at + 60
            time.sleep(0.2)
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGCONT)
    assert result.exit_code == 1
    assert "NO_WORKER: No worker seen since" in result.stdout
    assert "stale" in result.stdout
    while call("status", env=running.operator).exit_code:
        assert time.monotonic() < frozen_at + 60
        time.sleep(0.2)
