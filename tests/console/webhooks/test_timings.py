"""The bars of attempts: timings of one, and a strip of many."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway.console.screens.webhooks.strip import strip
from gateway.console.screens.webhooks.timings import AXIS, timing_parts
from gateway.flows.read.endpoints import AttemptMark
from tests.builders import attempt_of


@pytest.mark.parametrize(
    ("timings", "duration", "status", "names"),
    [
        (
            '{"dns":0.01,"connect":0.02,"tls":0.03,"firstByte":0.04}',
            120,
            200,
            ["DNS", "connect", "TLS", "first byte", "body"],
        ),
        ('{"firstByte":0.05}', 50, 200, ["first byte"]),
        ('{"dns":0.01}', 15_000, None, ["DNS", "waited"]),
        (None, 0, None, ["waited"]),
        (
            '{"dns":0,"connect":0,"tls":0,"firstByte":0}',
            0,
            200,
            ["DNS", "connect", "TLS", "first byte"],
        ),
        (
            '{"dns":9,"connect":0,"tls":0,"firstByte":0}',
            1,
            200,
            ["DNS", "connect", "TLS", "first byte"],
        ),
    ],
)
def test_the_phases_follow_each_other_on_the_axis(
    timings: str | None, duration: int, status: int | None, names: list[str]
) -> None:
    one = replace(attempt_of(), timings=timings, duration_ms=duration, status=status)
    parts = timing_parts(one)
    assert [part.name for part in parts] == names
    end = 0
    for part in parts:
        assert part.start == end
        end = part.start + part.width
    assert end <= AXIS


def test_a_strip_has_failures_taller_and_the_newest_at_the_right() -> None:
    def mark(error: str | None) -> AttemptMark:
        return AttemptMark(UUID(int=1), 1, datetime.now(UTC), 5, 200, error)

    newest, oldest = strip([mark("timeout"), mark(None)])
    assert (newest.look, oldest.look) == ("bad", "good")
    assert newest.height > oldest.height
    assert newest.x > oldest.x
    assert len(strip([mark(None)] * 150)) == 100
    assert strip([mark(None)] * 100)[-1].x == 0
