"""`gateway job` against a real gateway."""

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.core.explain.failure_advice import JOB_ADVICE, WEBHOOK_ADVICE
from tests.cli.commands import call
from tests.cli.conftest import Running

WORKFLOW = "music-ai/generate-chords"


def script(**simulate: object) -> str:
    """Input of a job that the simulator runs as it is told."""
    timing = {"queueSeconds": 0, "runSeconds": 0.1, **simulate}
    return json.dumps({"inputUrl": "https://example.com/song.mp3", "simulate": timing})


def shown(running: Running, *arguments: str, code: int = 0, stdin: str = "") -> Any:
    result = call("job", *arguments, "--json", env=running.tenant, stdin=stdin)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def test_from_submit_to_its_end(running: Running) -> None:
    made = shown(
        running, "submit", WORKFLOW, "--name", "whole", "--params", script(), "--param", "extra=a=b",
        "--metadata", '{"order": "7"}', "--batch-name", "spring", "--priority", "3",
        "--deadline", "10m", "--idempotency-key", "whole-1",
    )  # fmt: skip
    ended = shown(running, "wait", made["id"], "--timeout", "30s")
    assert (ended["status"], ended["batchName"]) == ("SUCCEEDED", "spring")
    assert ended["workflowParams"]["extra"] == "a=b"
    assert ended["metadata"]["order"] == "7"
    assert shown(running, "get", made["id"]) == ended
    listed = shown(running, "list", "--status", "succeeded", "--name", "whole", "--limit", "5")
    assert [one["id"] for one in listed] == [made["id"]]
    types = [one["type"] for one in shown(running, "events", made["id"])]
    assert types[0] == "accepted"
    assert "succeeded" in types


def test_a_bundle_is_printed(running: Running) -> None:
    made = shown(running, "submit", WORKFLOW, "--name", "bundled", "--params", script())
    bundle = json.loads(call("job", "bundle", made["id"], env=running.tenant).stdout)
    assert bundle["job"]["id"] == made["id"]
    assert bundle["job"]["workflowParams"] == {}
    whole = call("job", "bundle", made["id"], "--payloads", env=running.tenant).stdout
    assert json.loads(whole)["job"]["workflowParams"]["inputUrl"]


def test_the_idempotency_key_makes_one_job(running: Running) -> None:
    arguments = ("submit", WORKFLOW, "--name", "once", "--params", script())
    ids = {shown(running, *arguments, "--idempotency-key", "once")["id"] for _ in range(2)}
    assert len(ids) == 1
    other = (*arguments, "--priority", "1", "--idempotency-key", "once")
    assert call("job", *other, env=running.tenant).exit_code == 5


def test_a_job_that_fails_ends_with_8(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "params.json"
    file.write_text(script(outcome="FAILED", errorCode="BAD_INPUT"))
    arguments = ("submit", WORKFLOW, "--name", "bad", "--params", f"@{file}", "--wait")
    failed = shown(running, *arguments, code=8)
    assert failed["error"]["code"] == "BAD_INPUT"
    again = call("job", "wait", failed["id"], env=running.tenant)
    assert again.exit_code == 8
    assert "(BAD_INPUT)" in again.stderr


def test_a_job_that_takes_too_long_ends_with_9_then_is_deleted(running: Running) -> None:
    arguments = ("submit", WORKFLOW, "--name", "slow", "--params", "-", "--wait", "--timeout", "0s")
    slow = call("job", *arguments, env=running.tenant, stdin=script(runSeconds=600))
    assert (slow.exit_code, slow.stdout) == (9, "")
    found = shown(running, "list", "--name", "slow")[0]["id"]
    assert call("job", "delete", found, env=running.tenant).exit_code == 2
    assert shown(running, "delete", found, "--yes") == {"id": found}
    gone = call("job", "get", found, env=running.tenant)
    assert (gone.exit_code, gone.stdout) == (3, "")


def test_waiting_goes_on_over_several_answers(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    arguments = ("submit", WORKFLOW, "--name", "two", "--params", script(runSeconds=600))
    job_id = shown(running, *arguments)["id"]
    late = call("job", "wait", job_id, "--timeout", "1s", env=running.tenant)
    assert (late.exit_code, len(pauses)) == (9, 1)
    shown(running, "delete", job_id, "--yes")


def test_people_see_the_id_and_the_end(running: Running) -> None:
    arguments = ("submit", WORKFLOW, "--name", "people", "--params", script())
    plain = call("job", *arguments, env=running.tenant)
    job_id = plain.stdout.strip()
    ended = call("job", "wait", job_id, env=running.tenant)
    assert ["status", "SUCCEEDED"] in [line.split() for line in ended.stdout.splitlines()]
    assert ended.stderr == "The job succeeded.\n"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("@/nowhere", "cannot be read"),
        ('{"a": "\\ud800"}', "cannot be sent"),
    ],
)
def test_input_that_cannot_be_sent(running: Running, params: str, words: str) -> None:
    arguments = ("job", "submit", WORKFLOW, "--name", "x", "--params", params)
    result = call(*arguments, env=running.tenant)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in " ".join(result.stderr.split())


def test_a_pair_without_a_value(running: Running) -> None:
    arguments = ("job", "submit", WORKFLOW, "--name", "x", "--param", "lonely")
    result = call(*arguments, env=running.tenant)
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.stderr


def test_a_refusal_names_the_field(running: Running) -> None:
    arguments = ("submit", WORKFLOW, "--name", "x", "--callback-url", "ftp://example.com")
    result = call("job", *arguments, env=running.tenant)
    assert result.exit_code == 2
    assert "callbackUrl" in result.stderr


@pytest.fixture(scope="module")
def listed(running: Running) -> list[str]:
    """The ids of four jobs of one batch, the newest first; the first of them failed."""
    ids: list[str] = []
    for number in range(4):
        outcome = {"outcome": "FAILED", "errorCode": "BAD_INPUT"} if number == 3 else {}
        arguments = ("submit", WORKFLOW, "--name", f"of {number}", "--params", script(**outcome))
        more = ("--batch-name", "listed", "--metadata", json.dumps({"n": str(number)}), "--wait")
        made = call("job", *arguments, *more, "--json", env=running.tenant)
        ids.insert(0, json.loads(made.stdout)["id"])
    return ids


class TestList:
    def ids(self, running: Running, *arguments: str) -> list[str]:
        found = shown(running, "list", "--batch", "listed", *arguments)
        return [one["id"] for one in found]

    def test_filters(self, running: Running, listed: list[str]) -> None:
        assert self.ids(running) == listed
        assert self.ids(running, "--error-code", "BAD_INPUT") == listed[:1]
        assert self.ids(running, "--status", "Failed", "--since", "1h") == listed[:1]
        assert self.ids(running, "--metadata", "n=1", "--metadata", "n=2") == listed[1:3]
        assert self.ids(running, "--metadata", "n=1", "--metadata", "plan=gold") == [listed[2]]
        assert self.ids(running, "--until", "1h") == []
        assert self.ids(running, "--since", "2001-01-31", "--ended-since", "1w") == listed
        assert self.ids(running, "--ended-until", "2001-01-31T00:00:00Z") == []

    def test_any_length_by_cursors(self, running: Running, listed: list[str]) -> None:
        first = call(
            "job", "list", "--batch", "listed", "--limit", "3", "--json", env=running.tenant
        )
        assert [one["id"] for one in json.loads(first.stdout)] == listed[:3]
        cursor = first.stderr.partition("--cursor ")[2].split()[0]
        page = shown(running, "list", "--batch", "listed", "--cursor", cursor)
        assert ([one["id"] for one in page["items"]], page["cursor"]) == (listed[3:], None)
        page = shown(running, "list", "--batch", "listed", "--cursor", "", "--limit", "2")
        assert [one["id"] for one in page["items"]] == listed[:2]
        rest = shown(running, "list", "--batch", "listed", "--cursor", page["cursor"])
        assert [one["id"] for one in rest["items"]] == listed[2:]
        assert self.ids(running, "--all") == listed

    def test_lines_and_csv(self, running: Running, listed: list[str]) -> None:
        lines = call("job", "list", "--batch", "listed", "--ndjson", env=running.tenant).stdout
        assert [json.loads(line)["id"] for line in lines.splitlines()] == listed
        for limit in ((), ("--limit", "2"), ("--limit", "9")):
            told = call("job", "list", "--batch", "listed", "--csv", *limit, env=running.tenant)
            rows = list(csv.DictReader(io.StringIO(told.stdout.lstrip("\ufeff"))))
            wanted = int(limit[1]) if limit else 4
            assert [row["id"] for row in rows] == listed[:wanted]

    def test_people_see_why_it_failed(self, running: Running, listed: list[str]) -> None:
        arguments = ("list", "--batch", "listed", "--status", "failed")
        told = call("job", *arguments, env=running.tenant).stdout
        message = shown(running, "get", listed[0])["error"]["message"]
        assert message in told
        assert "acme" in told
        for width in (60, 80, 100):
            narrow = call("job", *arguments, env={**running.tenant, "COLUMNS": str(width)}).stdout
            assert max(map(len, narrow.splitlines())) <= width
            assert listed[0] in narrow

    @pytest.mark.parametrize(
        "wrong",
        [("--limit", "0"), ("--limit", "1", "--all"), ("--metadata", "lonely"),
         ("--since", "yesterday"), ("--since", "2026-11-30T12:00"), ("--status", "x")],
    )  # fmt: skip
    def test_wrong_usage(self, running: Running, wrong: tuple[str, ...]) -> None:
        assert call("job", "list", *wrong, env=running.tenant).exit_code == 2


def test_a_failure_is_told_with_its_advice_and_attempts(
    running: Running, listed: list[str]
) -> None:
    end = time.monotonic() + 30
    while "Attempts" not in (told := call("job", "get", listed[0], env=running.tenant).stdout):
        assert time.monotonic() < end, told
    assert JOB_ADVICE["BAD_INPUT"] in told
    lines = told.splitlines()
    attempts = lines[lines.index("Attempts") :]
    assert attempts[1].split()[:2] == ["STARTED_AT", "TYPE"]
    assert any("job.failed" in line and " 200 " in line for line in attempts)
    delivery = json.loads(
        call("webhook", "list", "--job", listed[0], "--json", env=running.tenant).stdout
    )[0]["id"]
    story = call("webhook", "get", delivery, env=running.tenant).stdout
    assert "webhook-signature" in story
    assert "Response 200" in story
    assert max(map(len, story.splitlines())) < 400, "no line of JSON of 2 kB"


def test_a_job_is_explained(running: Running, listed: list[str]) -> None:
    found = shown(running, "explain", listed[0])
    assert found["state"].startswith("FAILED at ")
    assert (found["whoActs"], found["whatToDo"]) == ("caller", JOB_ADVICE["BAD_INPUT"])
    assert found["cause"].endswith("(BAD_INPUT)")
    assert found["timeline"][0]["type"] == "accepted"
    told = call("job", "explain", listed[0], env=running.tenant).stdout
    assert told.splitlines()[0].split()[:2] == ["state", "FAILED"]
    assert "Timeline" in told


def test_a_webhook_that_does_not_arrive_is_explained(running: Running) -> None:
    # Of another tenant: the tests of deliveries count the undelivered ones of the first.
    other = {**running.tenant, "GATEWAY_ACCESS_KEY": running.facts["tenants"][1]["accessKey"]}
    options = ("--name", "lost", "--params", script(), "--callback-url", "http://127.0.0.1:1/")
    submitted = call("job", "submit", WORKFLOW, *options, "--wait", "--json", env=other)
    made = json.loads(submitted.stdout)
    end = time.monotonic() + 30
    while True:
        found = json.loads(call("job", "explain", made["id"], "--json", env=other).stdout)
        if found["webhooks"] and found["webhooks"][0]["whatToDo"]:
            break
        assert time.monotonic() < end, found
    assert found["state"].startswith("SUCCEEDED at ")
    assert (found["cause"], found["whoActs"]) == ("it ended", "nobody")
    [webhook] = found["webhooks"]
    assert "refused" in webhook["cause"]
    assert webhook["whatToDo"] == WEBHOOK_ADVICE["connect"]
    told = call("job", "explain", made["id"], env=other).stdout
    assert "Webhooks that were not delivered" in told


def test_a_job_that_waits_is_explained(running: Running) -> None:
    options = ("--name", "long", "--params", script(queueSeconds=30))
    made = shown(running, "submit", WORKFLOW, *options)
    end = time.monotonic() + 30
    while "UPSTREAM_QUEUED" not in (found := shown(running, "explain", made["id"]))["cause"]:
        assert time.monotonic() < end, found
    assert found["whoActs"] == "upstream"
    shown(running, "delete", made["id"], "--yes")


def test_jobs_are_retried_and_cancelled(running: Running, listed: list[str]) -> None:
    (again,) = shown(running, "retry", listed[0])
    assert again["retryOf"] == listed[0]
    assert shown(running, "retry", "--batch", "listed", "--status", "failed", "--dry-run")["count"]
    ended = call("job", "cancel", listed[1], "--yes", env=running.tenant)
    assert (ended.exit_code, "has ended" in ended.stderr) == (5, True)
    slow = ("submit", WORKFLOW, "--name", "slow", "--params", script(runSeconds=600))
    ids = [shown(running, *slow, "--batch-name", "slow")["id"] for _ in range(2)]
    assert call("job", "cancel", ids[0], env=running.tenant).exit_code == 2
    assert shown(running, "cancel", ids[0], "--yes") == [{"id": ids[0]}]
    operation = shown(running, "cancel", "--batch", "slow", "--yes", "--wait")
    assert (operation["state"], operation["total"]) == ("done", 1)
    env = running.tenant
    found = json.loads(call("bulk", "get", operation["id"], "--json", env=env).stdout)
    assert found == operation
    assert operation["id"] in call("bulk", "list", env=env).stdout
    assert call("bulk", "stop", operation["id"], env=env).exit_code == 5
    for wrong in (("retry",), ("retry", "x", "--name", "y"), ("cancel", "x", "--dry-run")):
        assert call("job", *wrong, env=env).exit_code == 2


def test_another_tenant_is_named_where_a_job_is_not_found(running: Running) -> None:
    missing = "0190e3a0-0000-7000-8000-000000000000"
    told = call("job", "get", missing, "--data-dir", str(running.folder))
    assert told.exit_code == 3
    assert "--tenant globex" in told.stderr


HOSTILE = "red \x1b[31mALERT\x1b[0m \x1b]0;pwned\x07 \x9b2J\u202e\u2028[bold]\r\nid  FAILED"
SHOWN = r"red \x1b[31mALERT\x1b[0m \x1b]0;pwned\x07 \x9b2J\u202e\u2028[bold]\r\nid  FAILED"


def test_texts_of_others_do_not_drive_the_terminal(running: Running) -> None:
    made = shown(running, "submit", WORKFLOW, "--name", HOSTILE, "--params", script(), "--wait")
    assert made["name"] == HOSTILE  # as JSON it is the same text
    for arguments in (("list", "--limit", "5"), ("get", made["id"]), ("list", "--json")):
        told = call("job", *arguments, env=running.tenant).stdout
        assert r"\x9b2J" in told or r"\u009b2J" in told
        assert told.replace("\n", "").isprintable()
    listed = call("job", "list", "--limit", "5", env=running.tenant).stdout
    assert SHOWN in listed


def test_nor_does_what_an_error_repeats(running: Running) -> None:
    arguments = ("submit", "nope/\x1b[2J\nx", "--name", "n", "--params", script(), "--wait")
    told = call("job", *arguments, env=running.tenant)
    assert told.exit_code == 8
    assert r"nope/\x1b[2J\nx" in told.stderr
    assert told.stderr.replace("\n", "").isprintable()
