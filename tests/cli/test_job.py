"""`gateway job` against a real gateway."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

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
        ("{", "cannot be read as JSON"),
        ("[]", "has to be a JSON object"),
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


def test_what_the_gateway_refuses_names_the_field(running: Running) -> None:
    arguments = ("submit", WORKFLOW, "--name", "x", "--callback-url", "ftp://example.com")
    result = call("job", *arguments, env=running.tenant)
    assert result.exit_code == 2
    assert "callbackUrl" in result.stderr


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
