"""What the doctor says of the partitions of the jobs by month."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from gateway.core.diagnosis.findings import DoctorFinding, doubtful, fine, wrong
from gateway.core.uuid7 import time_of

_SOON = timedelta(days=31)
_MAINTAIN = "Run `gateway db partition maintain`, and then once a day."


class PartitionFacts(NamedTuple):
    """The first id behind the last month, None without partitions; and whether anything is out of place.

    `is_late`: jobs are in the default partition. `is_unfinished`: switching on ended half way.
    """

    end: UUID | None
    is_late: bool
    is_unfinished: bool


def judge_partitions(facts: PartitionFacts, now: datetime) -> Iterator[DoctorFinding]:
    """Judge whether each month has its partition; a single table needs no finding."""
    if facts.is_unfinished:
        yield wrong(
            "partitions",
            "`gateway db partition on` ended half way, and inserts fail once its month begins.",
            "Run it again, or `gateway db partition off` to take it back.",
        )
    if facts.end is None:
        return
    until = time_of(facts.end)
    if facts.is_late:
        text = "Jobs are in the default partition, because their month has none."
        yield wrong("partitions", text, _MAINTAIN)
    elif until < now + _SOON:
        text = f"No month after {until:%Y-%m-%d} has a partition yet."
        yield doubtful("partitions", text, _MAINTAIN)
    else:
        yield fine("partitions", f"The jobs have partitions by month, until {until:%Y-%m-%d}.")
