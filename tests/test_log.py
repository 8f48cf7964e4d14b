"""Logs: one line each, as JSON or for people, and never a secret."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
import structlog

from gateway import log


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    structlog.get_logger().info("submit", outcome="submitted", seconds=0.1, ids={1})
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "submit",
        "level": "info",
        "outcome": "submitted",
        "seconds": 0.1,
        "ids": [1],
    }


def test_values_that_json_cannot_hold_are_written_as_text(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    structlog.get_logger().info("x", odd=structlog)
    assert "module" in lines(capsys)[0]["odd"]


def test_less_severe_lines_are_left_out(capsys: pytest.CaptureFixture[str]):
    log.configure("warning", "json")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_an_error_brings_its_traceback(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    error = ValueError("https://user:hunter2@example.com/x")
    structlog.get_logger().error("failed", exc_info=error)
    (line,) = lines(capsys)
    assert "ValueError" in line["exception"]
    assert "hunter2" not in line["exception"]


def test_people_get_a_readable_line(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "console")
    structlog.get_logger().info("submit", outcome="submitted")
    error = capsys.readouterr().err
    assert "submit" in error
    assert "outcome=submitted" in error
    assert "\x1b" not in error, "no colours where nobody sees them"


def test_other_libraries_write_the_same_lines(capsys: pytest.CaptureFixture[str]):
    log.configure("debug", "json")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble with %s", "jgw_0123_secret")
    (line,) = lines(capsys)
    assert line["level"] == "warning"
    assert line["event"] == "trouble with [hidden]"


def wide(level: str = "info", **fields: object) -> None:
    log.write_wide(level, "submit", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), fields)


def test_a_wide_line_is_like_any_other(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    job_id = UUID(int=1)
    wide(outcome="submitted", job_id=job_id)
    structlog.get_logger().info("submit", outcome="submitted", job_id=job_id)
    first, second = lines(capsys)
    assert first.pop("timestamp") == "2026-01-02T03:04:05Z"
    second.pop("timestamp")
    assert first == second


def test_a_wide_line_may_be_for_people(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "console")
    wide(outcome="submitted")
    assert "outcome=submitted" in capsys.readouterr().err


def test_a_wide_line_that_is_not_severe_enough_is_left_out(capsys: pytest.CaptureFixture[str]):
    log.configure("warning", "json")
    wide()
    wide("warning")
    assert [line["level"] for line in lines(capsys)] == ["warning"]


async def test_wide_lines_are_written_together(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    wide(number=1)
    wide(number=2)
    assert capsys.readouterr().err == ""
    await asyncio.sleep(0.2)
    assert [line["number"] for line in lines(capsys)] == [1, 2]


async def test_held_lines_keep_their_place_before_any_other(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    wide(number=1)
    structlog.get_logger().info("later", number=2)
    wide(number=3)
    logging.getLogger("library").warning("later")
    assert [line.get("number") for line in lines(capsys)] == [1, 2, 3, None]


async def test_a_warning_is_written_at_once(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    wide(number=1)
    wide("warning", number=2)
    assert [line["number"] for line in lines(capsys)] == [1, 2]


async def test_many_lines_do_not_wait(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "json")
    for number in range(600):
        wide(number=number)
    assert len(lines(capsys)) == 500


def test_a_process_writes_its_last_lines_when_it_ends():
    program = """
import asyncio
from datetime import UTC, datetime
from gateway import log

async def main():
    log.write_wide("info", "submit", datetime.now(UTC), {"outcome": "submitted"})

log.configure("info", "json")
asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stderr)["outcome"] == "submitted"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (
            "reason",
            "GET https://u:hunter2@x.example.com/a?b=hunter2",
            "GET https://x.example.com/a",
        ),
        ("reason", "key jgw_hunter2", "key [hidden]"),
        ("secret", "hunter2", "[hidden]"),
        ("api_key", "hunter2", "[hidden]"),
    ],
)
def test_a_wide_line_hides_what_any_other_hides(
    capsys: pytest.CaptureFixture[str], name: str, value: str, shown: str
):
    log.configure("info", "json")
    wide(**{name: value})
    assert lines(capsys)[0][name] == shown


@pytest.mark.parametrize("name", ["authorization", "api_key", "secret", "password", "access_key"])
def test_a_field_that_is_named_like_a_secret_is_hidden(name: str):
    assert log.redact(None, "", {name: "hunter2", "other": 1}) == {name: "[hidden]", "other": 1}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key jgw_0011_abc is bad", "key [hidden] is bad"),
        ("whsec_abc=", "[hidden]"),
        ("to https://u:p@x.example.com/a?token=1 now", "to https://x.example.com/a now"),
        ("redis://:pw@cache:6379/0", "redis://cache:6379/0"),
        ("https://x.example.com", "https://x.example.com"),
        ("see http:// and https://a/b", "see http:// and https://a/b"),
        ("plain text", "plain text"),
    ],
)
def test_secrets_in_a_text_are_hidden(text: str, shown: str):
    assert log.redact(None, "", {"event": text})["event"] == shown


@pytest.mark.parametrize("style", ["json", "console"])
def test_texts_of_others_drive_no_terminal(style: str, capsys: pytest.CaptureFixture[str]):
    log.configure("info", style)
    hostile = "a\x1b[2J\x9b\u202e\r\nb"
    log.write_wide("info", "accept", datetime.now(UTC), {"workflow": hostile, "odd": [hostile]})
    structlog.get_logger().info(hostile, name=hostile)
    logging.getLogger("other").warning(hostile)
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 3
    assert told.replace("\n", "").isprintable()


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]):
    log.configure("info", "console")
    structlog.get_logger().error("failed", exc_info=ValueError("a\x1b[2J"))
    told = capsys.readouterr().err
    assert "ValueError: a\\x1b[2J" in told.splitlines()[-1]
    assert "\x1b" not in told
