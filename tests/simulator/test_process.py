import signal
from pathlib import Path

import httpx

from tests.simulator.process import running

HEADERS = {"Authorization": "sim-acme"}


def submit(api: str, name: str) -> str:
    body = {
        "name": name,
        "workflow": "music-ai/generate-chords",
        "params": {"simulate": {"queueSeconds": 0, "runSeconds": 0}},
        "metadata": {"gatewayJobId": name},
    }
    answer = httpx.post(f"{api}/v1/job", json=body, headers=HEADERS)
    assert answer.status_code == 200
    return answer.json()["id"]


def listed(api: str) -> list[str]:
    return [job["id"] for job in httpx.get(f"{api}/v1/job", headers=HEADERS).json()]


def test_sigterm_ends_it_at_once_even_while_requests_hang() -> None:
    with running() as simulator, httpx.Client() as client:
        fault = {"action": {"type": "hang"}}
        httpx.post(f"{simulator.api}/_control/faults", json=fault)
        request = client.build_request("GET", f"{simulator.api}/v1/job", headers=HEADERS)
        request.extensions = {"timeout": {"connect": 5, "read": 0.2, "write": 5, "pool": 5}}
        try:
            client.send(request)
        except httpx.ReadTimeout:
            simulator.process.send_signal(signal.SIGTERM)

        assert simulator.process.wait(timeout=5) == 0


def test_the_same_seed_gives_the_same_ids() -> None:
    ids: list[list[str]] = []
    for seed in ("1", "1", "2"):
        with running("--seed", seed) as simulator:
            ids.append([submit(simulator.api, str(n)) for n in range(3)])

    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


def test_jobs_survive_a_kill_when_there_is_a_state_file(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    options = ("--state-file", str(state))
    with running(*options) as simulator:
        kept, deleted = submit(simulator.api, "kept"), submit(simulator.api, "deleted")
        httpx.delete(f"{simulator.api}/v1/job/{deleted}", headers=HEADERS)
        before = httpx.get(f"{simulator.api}/v1/job/{kept}", headers=HEADERS).json()
        simulator.process.kill()
        simulator.process.wait()
    with state.open("ab") as file:
        file.write(b'{"id": "cut sh')  # what a kill in the middle of a write leaves

    with running(*options) as simulator:
        assert listed(simulator.api) == [kept]
        after = httpx.get(f"{simulator.api}/v1/job/{kept}", headers=HEADERS).json()
        third = submit(simulator.api, "third")

    with running(*options) as simulator:
        assert listed(simulator.api) == [third, kept]
        httpx.post(f"{simulator.files}/_control/restart", json={"jobs": "vanish"})
        assert httpx.get(f"{simulator.files}/_control/jobs").json() == []

    urls = ("result",)
    assert {k: v for k, v in before.items() if k not in urls} == {
        k: v for k, v in after.items() if k not in urls
    }
    assert len({kept, deleted, third}) == 3
    with running(*options) as simulator:
        assert listed(simulator.api) == []


def test_params_with_line_breaks_survive_too(tmp_path: Path) -> None:
    options = ("--state-file", str(tmp_path / "state.jsonl"))
    body = b'{"name": "n",\r\n"workflow": "audio-encoder",\n"params": {\r\n"inputUrl":\r"https://a.example/a"}}'
    with running(*options) as simulator:
        content = {**HEADERS, "Content-Type": "application/json"}
        made = httpx.post(f"{simulator.api}/v1/job", headers=content, content=body).json()["id"]
    with running(*options) as simulator:
        found = httpx.get(f"{simulator.api}/v1/job/{made}", headers=HEADERS).json()
    assert found["workflowParams"] == {"inputUrl": "https://a.example/a"}


def test_a_journal_brings_back_what_only_control_calls_made(tmp_path: Path) -> None:
    options = ("--state-file", str(tmp_path / "state.jsonl"))
    body = {"name": "a", "workflow": "mine", "params": {}, "copyResultsTo": {"x": "http://y/z"}}
    headers = {"Authorization": "odd-key"}
    with running(*options) as simulator:
        httpx.post(f"{simulator.api}/_control/workflows", json={"slug": "mine"})
        httpx.post(f"{simulator.api}/_control/keys", json={"key": "odd-key"})
        added = httpx.post(f"{simulator.api}/v1/job", json=body, headers=headers).json()

    with running(*options) as simulator:
        job = httpx.get(f"{simulator.api}/v1/job/{added['id']}", headers=headers).json()
        assert (job["workflow"], job["workflowParams"]) == ("mine", {})
        httpx.post(f"{simulator.api}/_control/reset")

    with running(*options) as simulator:
        assert httpx.get(f"{simulator.api}/_control/jobs").json() == []
