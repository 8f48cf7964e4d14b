"""`gateway listen` as a process between a real gateway and a real server."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import click
import httpx
import psutil
import pytest
from typing_extensions import override

from gateway.cli.events.target import target_url
from gateway.webhooks import verify
from tests.cli.commands import bare_environment, call
from tests.cli.conftest import Running
from tests.cli.test_job import WORKFLOW, script

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_SECONDS = 30


class Got(NamedTuple):
    """A request that came to the local server."""

    body: bytes
    headers: dict[str, str]


@contextmanager
def serving(status: int = 200) -> Generator[tuple[str, Queue[Got]]]:
    """The URL of a local server, and what comes to it."""
    got: Queue[Got] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.put(Got(body, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        @override
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass  # it would go to standard error

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@contextmanager
def listening(
    running: Running, *arguments: str, command: tuple[str, ...] = ("listen",)
) -> Generator[subprocess.Popen[str]]:
    """A `gateway listen`."""
    process = subprocess.Popen(
        (sys.executable, "-m", "gateway", *command, *arguments),
        env={**bare_environment(), "PYTHONUNBUFFERED": "1", **running.tenant},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], words: str) -> str:
    """Return its standard error until then."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def printed(process: subprocess.Popen[str], words: str) -> str:
    """The next line with these words on standard output."""
    assert process.stdout is not None
    while words not in (line := process.stdout.readline()):
        assert line
    return line


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Press Ctrl-C and return how it ends."""
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=_SECONDS)
    return process.returncode, output, said


def submit(running: Running, name: str) -> str:
    arguments = ("job", "submit", WORKFLOW, "--name", name, "--params", script(), "--json")
    return json.loads(call(*arguments, env=running.tenant).stdout)["id"]


def of_job(got: Queue[Got], job_id: str, kind: str) -> Got:
    """The webhook of that type about a job; other tests have jobs too."""
    while True:
        one = got.get(timeout=_SECONDS)
        event: dict[str, Any] = json.loads(one.body)
        if (event["type"], event["data"].get("id")) == (kind, job_id):
            return one


def test_events_are_forwarded_signed_and_again_when_they_are_resent(running: Running) -> None:
    with (
        serving() as (url, got),
        listening(running, "--forward-to", url, "--events", "job.succeeded") as process,
    ):
        secret = until(process, "Signed with").partition("Signed with ")[2].split()[0]
        job_id = submit(running, "heard")
        first = of_job(got, job_id, "job.succeeded")
        assert verify(first.body, first.headers, secret)["data"]["id"] == job_id
        found = call("webhook", "list", "--job", job_id, "--json", env=running.tenant)
        (delivery,) = [one for one in json.loads(found.stdout) if one["type"] == "job.succeeded"]
        assert call("webhook", "resend", delivery["id"], env=running.tenant).exit_code == 0
        second = of_job(got, job_id, "job.succeeded")
        assert verify(second.body, second.headers, secret)
        assert (second.body, second.headers["webhook-id"]) == (first.body, delivery["eventId"])
        mine = [printed(process, job_id) for _ in range(2)]
        code, rest, said = ended(process)

    assert code == 0, said
    assert [line.split()[1:5] for line in mine] == [
        ["job.succeeded", delivery["eventId"], job_id, "200"]
    ] * 2
    assert mine[1].endswith("again\n")
    assert "resent: 1" in said
    assert "\x1b" not in "".join(mine) + rest


def test_a_restart_of_the_api_leaves_no_gap(running: Running) -> None:
    options = ("--secret", SECRET, "--events", "job.succeeded")
    with (
        serving(status=500) as (url, got),
        listening(running, "--forward-to", url, *options, "--json") as process,
    ):
        assert SECRET in until(process, "Signed with")
        job_id = submit(running, "missed")
        restarted = psutil.Process(
            json.loads((running.folder / "dev.json").read_text())["pids"]["api"][0]
        )
        restarted.kill()
        one = of_job(got, job_id, "job.succeeded")
        verify(one.body, one.headers, SECRET)
        line = json.loads(printed(process, "job.succeeded"))
        code, _, said = ended(process)

    assert code == 0, said
    assert "Lost the API, retrying" in said
    assert (line["jobId"], line["status"], line["again"]) == (job_id, 500, False)
    assert "accepted: 0" in said


def test_a_local_server_that_is_not_there_is_told(running: Running) -> None:
    with listening(running, "--forward-to", "http://127.0.0.1:1/hook") as process:
        until(process, "Listening to")
        job_id = submit(running, "nobody")
        line = printed(process, job_id)
        code, _, said = ended(process)

    assert code == 0, said
    assert "failed" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("--forward-to", "ftp://localhost"),
        ("--forward-to", "local host"),
        ("--forward-to", "http://localhost:99999"),
        ("--forward-to", "http://localhost", "--events", "job.exploded"),
        ("--forward-to", "http://localhost", "--secret", "hunter2"),
    ],
)
def test_wrong_usage(running: Running, arguments: tuple[str, ...]) -> None:
    result = call("listen", *arguments, env=running.tenant)
    assert result.exit_code == 2
    assert "hunter2" not in result.stderr


def test_an_api_that_is_not_there_or_refuses(running: Running) -> None:
    for api, key, code in (("http://127.0.0.1:1", "k", 7), (running.facts["api"], "k", 4)):
        env = {"GATEWAY_API": api, "GATEWAY_ACCESS_KEY": key}
        assert call("listen", "--forward-to", "http://127.0.0.1:1", env=env).exit_code == code


def signed_with(process: subprocess.Popen[str]) -> str:
    return until(process, "Signed with").partition("Signed with ")[2].split()[0]


def test_the_secret_is_the_same_at_the_next_start(running: Running, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    with listening(running, "--forward-to", url) as process:
        first = signed_with(process)
    with listening(running, "--forward-to", url, "--new-secret") as process:
        second = signed_with(process)
    with listening(running, "--forward-to", url) as process:
        third = signed_with(process)
    assert first != second == third
    (file,) = (one for one in (tmp_path / "state").rglob("*") if one.is_file())
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    file.write_text("nonsense")
    with listening(running, "--forward-to", url) as process:
        assert signed_with(process) != second


def test_a_trigger_is_heard_once_without_any_endpoint(running: Running) -> None:
    call("tenant", "create", "looped", env=running.operator)
    key = running.facts["serviceKey"]
    api = {
        "GATEWAY_API": running.facts["api"],
        "GATEWAY_ACCESS_KEY": key,
        "GATEWAY_TENANT": "looped",
    }
    with (
        serving() as (url, got),
        listening(running._replace(facts={**running.facts, "tenants": [{"accessKey": key}]}),
                  "--forward-to", url.removeprefix("http://"), "--tenant", "looped") as process,
    ):  # fmt: skip
        secret = signed_with(process)
        assert call("trigger", "job.failed", env=api).exit_code == 0
        assert call("trigger", "test.ping", env=api).exit_code == 0
        heard = [got.get(timeout=_SECONDS) for _ in range(2)]
    events = [verify(one.body, one.headers, secret) for one in heard]
    assert [one["type"] for one in events] == ["job.failed", "test.ping"]


STRANGE = "line \u2028 next \u2029 and \x85 end"


def test_a_forwarded_webhook_has_the_body_and_headers_of_a_delivered_one(running: Running) -> None:
    body = (
        f'{{"name": "{STRANGE}", "workflow": "{WORKFLOW}",\r\n"params": {{"a":\r\n 1.50,\n\t"b": "{STRANGE}",'
        ' "simulate": {"queueSeconds": 0,\r"runSeconds": 0.1}}}'
    )
    with (
        serving() as (url, got),
        listening(running, "--forward-to", url, "--events", "job.succeeded") as process,
    ):
        signed_with(process)
        answer = httpx.post(
            f"{running.facts['api']}/v1/job",
            content=body.encode(),
            headers={
                "Authorization": running.facts["tenants"][0]["accessKey"],
                "Content-Type": "application/json",
            },
        )
        job_id = answer.json()["id"]
        heard = of_job(got, job_id, "job.succeeded")
    end = time.monotonic() + _SECONDS
    while True:  # the endpoint of `gateway dev` gets it too
        listed = call("webhook", "list", "--job", job_id, "--json", env=running.tenant).stdout
        ids = [one["id"] for one in json.loads(listed) if one["type"] == "job.succeeded"]
        if ids:
            break
        assert time.monotonic() < end
    found = call("webhook", "get", ids[0], "--json", env=running.tenant)
    assert heard.body == json.loads(found.stdout)["requestBody"].encode()
    assert b"\r\n 1.50,\n\t" in heard.body
    assert json.loads(heard.body)["data"]["name"] == STRANGE


def test_without_a_target_events_are_printed(running: Running) -> None:
    with listening(running) as process:
        said = until(process, "Listening to")
        job_id = submit(running, "seen")
        line = printed(process, job_id)
        code, _, rest = ended(process)
    assert (code, "whsec" in said) == (0, False)
    assert line.split()[3] == job_id
    assert ", resent: 0" in rest


def test_events_are_followed(running: Running) -> None:
    job_id = submit(running, "followed")
    first = call("event", "list", "--ndjson", env=running.tenant).stdout.splitlines()[0]
    after = ("--after", json.loads(first)["id"], "--type", "job.succeeded", "--json")
    with listening(running, *after, command=("event", "follow")) as process:
        line = json.loads(printed(process, job_id))
        assert ended(process)[0] == 130
    assert (line["type"], line["jobId"], line["data"]["name"]) == (
        "job.succeeded", job_id, "followed",
    )  # fmt: skip
    listed = call("event", "list", "--type", "job.succeeded", "--all", env=running.tenant)
    assert job_id in listed.stdout


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("3000", "http://localhost:3000"),
        (":3000/hook", "http://localhost:3000/hook"),
        ("3000/hook?a=1", "http://localhost:3000/hook?a=1"),
        ("localhost:3000/hook", "http://localhost:3000/hook"),
        ("127.0.0.1:80", "http://127.0.0.1:80"),
        ("[::1]:3000/hook", "http://[::1]:3000/hook"),
        ("app.local/hook", "http://app.local/hook"),
        ("https://localhost/hook", "https://localhost/hook"),
    ],
)
def test_short_forms_of_a_target(text: str, url: str) -> None:
    assert target_url(text) == url


@pytest.mark.parametrize(
    "text", ["", ":", "ftp://a", "http://", "99999", "localhost:0", "a b", "http://[::1"]
)
def test_invalid_targets(text: str) -> None:
    with pytest.raises(click.UsageError):
        target_url(text)
