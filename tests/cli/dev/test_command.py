"""`gateway dev` as a user runs it: started, used, hurt, stopped, started again."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.servers import make_folder

Facts = dict[str, Any]
_SECONDS = 60
_NUMBERS = itertools.count()


class Dev:
    """A `gateway dev` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._log = folder.with_suffix(f".{next(_NUMBERS)}.log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                (
                    sys.executable,
                    "-m",
                    "gateway",
                    "dev",
                    "--port=0",
                    f"--data-dir={folder}",
                    *options,
                ),
                stdout=log,
                stderr=log,
            )

    def wait(self) -> Facts:
        """Wait for dev.json and return its content."""
        wait_for(lambda: self.process.poll() is not None or (self.folder / "dev.json").exists())
        assert self.process.poll() is None, self.said()
        return self.facts()

    def facts(self) -> Facts:
        return json.loads((self.folder / "dev.json").read_text())

    def said(self) -> str:
        return self._log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(_SECONDS)


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def pids_of(facts: Facts) -> set[int]:
    found: set[int] = set()
    for value in facts["pids"].values():
        found.update(value if isinstance(value, list) else [value])
    return found - {None}


def get(url: str, key: str = "") -> Any:
    answer = httpx.get(url, headers={"Authorization": key}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def run_job(facts: Facts, tenant: Mapping[str, str], callback: str | None = None) -> str:
    """Send a job, wait until its webhook was received and verified; answers its id."""
    job: dict[str, Any] = {
        "name": "one",
        "workflow": "music-ai/generate-chords",
        "params": {"inputUrl": "https://example.com/a.mp3", "simulate": {"runSeconds": 0.1}},
    }
    job |= {"callbackUrl": callback} if callback else {}
    headers = {"Authorization": tenant["accessKey"]}
    answer = httpx.post(f"{facts['api']}/v1/job", json=job, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    job_id: str = answer.json()["id"]
    wait_for(lambda: job_id in verified(facts))
    return job_id


def verified(facts: Facts) -> set[str]:
    """The jobs whose success the receiver was told by a webhook that it could verify."""
    return {
        one["jobId"]
        for one in get(f"{facts['receiver']}/received")
        if one["verified"] and one["type"] == "job.succeeded"
    }


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = make_folder()
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


Start = Callable[..., Dev]


@pytest.fixture(scope="module")
def start(place: Path) -> Iterator[Start]:
    """Start one by the name of its folder; all are stopped in the end, whatever happened."""
    started: list[Dev] = []

    def run(name: str, *options: str) -> Dev:
        started.append(Dev(place / name, *options))
        return started[-1]

    yield run
    for one in started:
        one.stop()


@pytest.fixture(scope="module")
def dev(start: Start) -> Dev:
    return start("first", "--workers=2")


@pytest.fixture
def facts(dev: Dev) -> Facts:
    return dev.wait()


def test_dev_json_has_all_addresses_and_keys(facts: Facts) -> None:
    assert set(facts) == {
        *("api", "dashboard", "simulator", "receiver", "databaseUrl", "redisUrl"),
        *("operatorKey", "serviceKey", "tenants", "pids"),
    }
    assert [tenant["slug"] for tenant in facts["tenants"]] == ["acme", "globex", "initech"]
    assert len(facts["pids"]["worker"]) == 2
    assert all(psutil.pid_exists(pid) for pid in pids_of(facts))
    assert get(f"{facts['api']}/health/ready")
    assert get(f"{facts['api']}/admin/v1/tenant", facts["operatorKey"])
    assert get(f"{facts['api']}/v1/job", facts["serviceKey"]) == []
    assert facts["dashboard"] == f"{facts['api']}/console"


def test_it_prints_a_link_that_signs_in_to_the_console(dev: Dev, facts: Facts) -> None:
    wait_for(lambda: "Receiver " in dev.said())
    link = re.search(
        rf"^Console +{facts['dashboard']} .*: (\S+token=(\S+))\)$", dev.said(), re.MULTILINE
    )
    assert link is not None, dev.said()
    assert "Sign in" in httpx.get(link[1], timeout=20).text
    used = httpx.post(f"{facts['dashboard']}/link", data={"token": link[2]}, timeout=20)
    assert (used.status_code, used.headers["location"]) == (303, "/console")


def test_its_secrets_are_its_own(dev: Dev, facts: Facts) -> None:
    for name in ("dev.json", "seeds.json", "receiver.json", "master.key"):
        assert (dev.folder / name).stat().st_mode & 0o777 == 0o600
    logs = "".join(log.read_text() for log in dev.folder.glob("logs/*.log"))
    for secret in (facts["operatorKey"], facts["tenants"][0]["endpointSecret"]):
        assert secret not in logs


def test_a_tenants_job_ends_in_a_verified_webhook(facts: Facts) -> None:
    for tenant in facts["tenants"]:
        run_job(facts, tenant)


def test_callback_urls_at_the_receiver_are_verified_too(facts: Facts) -> None:
    job_id = run_job(facts, facts["tenants"][2], callback=f"{facts['receiver']}/hook/initech/mine")

    wait_for(
        lambda: (
            {"/hook/initech", "/hook/initech/mine"}
            == {
                one["path"]
                for one in get(f"{facts['receiver']}/received")
                if one["jobId"] == job_id and one["verified"] and one["type"] == "job.succeeded"
            }
        )
    )


def test_another_one_on_the_same_folder_is_refused(dev: Dev, start: Start) -> None:
    second = start("first")

    assert second.process.wait(_SECONDS) == 1
    said = " ".join(second.said().replace("│", " ").split())
    assert f"is in use by process {dev.process.pid}: stop it" in said


def test_another_one_on_another_folder_runs_beside_it(facts: Facts, start: Start) -> None:
    other = start("second", "--no-simulator")
    theirs = other.wait()

    assert (theirs["simulator"], theirs["tenants"]) == (None, [])
    assert get(f"{theirs['api']}/admin/v1/tenant", theirs["operatorKey"]) == []
    assert get(f"{facts['api']}/health/ready")
    assert other.stop(signal.SIGINT) == 0
    assert not (other.folder / "dev.json").exists()
    assert not any(psutil.pid_exists(pid) for pid in pids_of(theirs))


def test_killed_parts_are_restarted_and_work(dev: Dev, facts: Facts) -> None:
    before = pids_of(facts)

    for pid in before:
        os.kill(pid, signal.SIGKILL)

    wait_for(lambda: not before & pids_of(dev.facts()))
    wait_for(lambda: _is_ready(facts))
    run_job(facts, facts["tenants"][0])


def _is_ready(facts: Facts) -> bool:
    try:
        return httpx.get(f"{facts['api']}/health/ready", timeout=20).status_code == 200
    except httpx.TransportError:
        return False


def test_after_kill_9_it_comes_back_with_its_keys_and_jobs_and_a_second_signal_ends_it(
    dev: Dev, facts: Facts, start: Start
) -> None:
    job = run_job(facts, facts["tenants"][1])
    pids = pids_of(dev.facts())
    suspended = facts["tenants"][2]["slug"]
    operator = {"Authorization": facts["operatorKey"]}
    path = f"{facts['api']}/admin/v1/tenant/{suspended}/suspend"
    assert httpx.post(path, json={}, headers=operator).is_success

    dev.stop(signal.SIGKILL)

    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    (dev.folder / "dev.json").unlink()
    again = start("first")
    theirs = again.wait()
    assert theirs["tenants"] == facts["tenants"]
    assert (theirs["operatorKey"], theirs["serviceKey"]) == (
        facts["operatorKey"],
        facts["serviceKey"],
    )
    found = get(f"{theirs['api']}/admin/v1/tenant/{suspended}", theirs["operatorKey"])
    assert found["suspendedAt"] is not None
    tenant = theirs["tenants"][1]
    assert get(f"{theirs['api']}/v1/job/{job}", tenant["accessKey"])["status"] == "SUCCEEDED"
    assert len(get(f"{theirs['api']}/v1/endpoint", tenant["accessKey"])) == 1
    run_job(theirs, tenant)

    os.kill(theirs["pids"]["worker"][0], signal.SIGSTOP)
    again.process.send_signal(signal.SIGINT)
    wait_for(lambda: "press Ctrl-C again to stop at once" in again.said())
    assert again.stop(signal.SIGINT) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids_of(theirs))
