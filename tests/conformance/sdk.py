"""What the official Python SDK, unmodified, must be able to do against a base URL.

The same checks run against the simulator and against the gateway in front of it. Each takes a
`Target`; parametrize a test with CHECKS. Jobs script themselves through `params.simulate`, which a
gateway passes on untouched.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import requests
from musicai_sdk import MusicAiClient
from requests.exceptions import HTTPError

WORKFLOW = "music-ai/stems-vocals-accompaniment"
OTHER_WORKFLOW = "music-ai/generate-chords"
QUICK = {"queueSeconds": 0, "runSeconds": 0.1}
JOB_KEYS = {
    "id",
    "app",
    "name",
    "batchName",
    "workflow",
    "workflowParams",
    "status",
    "result",
    "error",
    "metadata",
    "createdAt",
    "startedAt",
    "completedAt",
}


@dataclass(frozen=True)
class Target:
    """Where the API answers (with `/v1`), a key that it accepts, and a folder to write in."""

    base_url: str
    api_key: str
    folder: Path

    def client(self, api_key: str | None = None) -> MusicAiClient:
        client = MusicAiClient(api_key or self.api_key, timeout=30)
        client.job_monitor_interval = 0.1  # pyright: ignore[reportAttributeAccessIssue]
        client.base_url = self.base_url
        return client

    def run(self, workflow: str = WORKFLOW, **options) -> dict:
        """One quick job from start to end; `options` go to add_job."""
        client = self.client()
        params = {"inputUrl": "https://media.example.com/song.wav", "simulate": QUICK}
        added = client.add_job("conformance", workflow, params, **options)
        return client.wait_for_job_completion(added["id"])


def uploads_a_file(target: Target) -> None:
    content = b"RIFF" + bytes(range(256)) * 64
    source = target.folder / "song.wav"
    source.write_bytes(content)

    url = target.client().upload_file(str(source))

    assert requests.get(url, timeout=10).content == content


def runs_an_uploaded_file(target: Target) -> None:
    client = target.client()
    source = target.folder / "song.wav"
    source.write_bytes(b"RIFF")
    params = {"inputUrl": client.upload_file(str(source)), "simulate": QUICK}

    job = client.wait_for_job_completion(client.add_job("mine", WORKFLOW, params)["id"])

    assert job["status"] == "SUCCEEDED"
    assert job["workflowParams"] == params


def adds_a_job(target: Target) -> None:
    added = target.client().add_job("one", WORKFLOW, {"simulate": QUICK})

    assert set(added) == {"id"}
    assert str(UUID(added["id"])) == added["id"]


def equal_submissions_make_two_jobs(target: Target) -> None:
    client = target.client()

    ids = {client.add_job("same", WORKFLOW, {"simulate": QUICK})["id"] for _ in range(2)}

    assert len(ids) == 2


def reads_a_finished_job(target: Target) -> None:
    metadata = {"user": "ada", "take": 3, "loud": True}

    job = target.run(metadata=metadata)

    assert set(job) >= JOB_KEYS
    assert job["status"] == "SUCCEEDED"
    assert job["name"] == "conformance"
    assert job["workflow"] == WORKFLOW
    assert metadata.items() <= job["metadata"].items()
    assert "gatewayJobId" not in job["metadata"]
    assert set(job["result"]) == {"vocals", "accompaniments"}
    assert job["error"] is None


def stamps_times_in_order(target: Target) -> None:
    job = target.run()

    texts = [job["createdAt"], job["startedAt"], job["completedAt"]]
    assert all(
        text.endswith("Z") and len(text) == len("2022-12-07T19:21:42.170Z") for text in texts
    )
    times = [datetime.fromisoformat(text) for text in texts]
    assert times == sorted(times)


def reads_a_status(target: Target) -> None:
    client = target.client()
    job_id = client.add_job("slow", WORKFLOW, {"simulate": {"runSeconds": 600}})["id"]

    status = client.get_job_status(job_id)

    assert status["id"] == job_id
    assert status["status"] in {"QUEUED", "STARTED"}
    client.delete_job(job_id)


def downloads_results(target: Target) -> None:
    client = target.client()
    job = target.run()
    folder = target.folder / "results"
    folder.mkdir()

    downloaded = client.download_job_results(job["id"], str(folder))

    linked = {name for name, value in job["result"].items() if value.startswith("https://")}
    assert set(downloaded) == linked
    for name in linked:
        assert (folder / f"{name}.wav").read_bytes()[:4] == b"RIFF"
    assert set(json.loads((folder / "workflow.result.json").read_text())) == set(job["result"])


def reads_a_failed_job(target: Target) -> None:
    client = target.client()
    script = QUICK | {"outcome": "FAILED", "errorCode": "BAD_INPUT"}
    added = client.add_job("bad", WORKFLOW, {"simulate": script})

    job = client.wait_for_job_completion(added["id"])

    assert job["status"] == "FAILED"
    assert job["result"] is None
    assert job["error"]["code"] == "BAD_INPUT"
    assert {"title", "message"} <= job["error"].keys()
    with pytest.raises(HTTPError, match="failed"):
        client.download_job_results(job, str(target.folder))


def copies_results_elsewhere(target: Target) -> None:
    client = target.client()
    place = requests.get(
        f"{target.base_url}/upload", headers=client.get_headers(), timeout=10
    ).json()

    job = target.run(copy_results_to={"vocals": place["uploadUrl"]})

    assert job["result"]["vocals"] == "[custom storage]"
    assert job["result"]["accompaniments"].startswith("http")
    assert requests.get(place["downloadUrl"], timeout=10).content[:4] == b"RIFF"


def lists_jobs_by_status_and_workflow(target: Target) -> None:
    client = target.client()
    stems, chords = target.run(), target.run(OTHER_WORKFLOW)

    finished = client.list_jobs({"status": "SUCCEEDED"})
    only_chords = client.list_jobs({"workflow": [OTHER_WORKFLOW]})

    assert {stems["id"], chords["id"]} <= {job["id"] for job in finished}
    assert {job["status"] for job in finished} == {"SUCCEEDED"}
    assert {job["workflow"] for job in only_chords} == {OTHER_WORKFLOW}
    assert chords["id"] in {job["id"] for job in only_chords}


def lists_jobs_by_page(target: Target) -> None:
    client = target.client()
    for _ in range(3):
        client.add_job("paged", WORKFLOW, {"simulate": QUICK})

    first = client.list_jobs({"page": 0, "size": 2})
    second = client.list_jobs({"page": 1, "size": 2})

    assert len(first) == 2
    assert second
    assert not {job["id"] for job in first} & {job["id"] for job in second}


def deletes_a_job(target: Target) -> None:
    client = target.client()
    job = target.run()

    assert client.delete_job(job["id"])["id"] == job["id"]

    for call in (client.get_job, client.get_job_status, client.delete_job):
        with pytest.raises(HTTPError, match="404"):
            call(job["id"])
    assert job["id"] not in {row["id"] for row in client.list_jobs()}


def tells_the_application(target: Target) -> None:
    application = target.client().get_application_info()

    assert set(application) == {"id", "name"}
    assert application["name"]


def lists_workflows(target: Target) -> None:
    workflows = target.client().list_workflows()["workflows"]

    assert WORKFLOW in {workflow["slug"] for workflow in workflows}
    for workflow in workflows:
        assert {"id", "name", "slug", "description", "createdAt", "updatedAt"} <= workflow.keys()


def refuses_an_unknown_key(target: Target) -> None:
    client = target.client("nobody-has-this-key")

    for call in (client.get_application_info, client.list_jobs, client.list_workflows):
        with pytest.raises(HTTPError, match="401"):
            call()
    with pytest.raises(HTTPError, match="401"):
        client.add_job("no", WORKFLOW, {})


def knows_no_foreign_ids(target: Target) -> None:
    client = target.client()

    for job_id in (str(uuid4()), "not-an-id"):
        with pytest.raises(HTTPError, match="404"):
            client.get_job(job_id)


CHECKS = [
    uploads_a_file,
    runs_an_uploaded_file,
    adds_a_job,
    equal_submissions_make_two_jobs,
    reads_a_finished_job,
    stamps_times_in_order,
    reads_a_status,
    downloads_results,
    reads_a_failed_job,
    copies_results_elsewhere,
    lists_jobs_by_status_and_workflow,
    lists_jobs_by_page,
    deletes_a_job,
    tells_the_application,
    lists_workflows,
    refuses_an_unknown_key,
    knows_no_foreign_ids,
]
