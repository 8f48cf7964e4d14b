"""Databases whose jobs are in partitions by month."""

from datetime import timedelta

from gateway import __version__
from gateway.adapters.clock import SystemClock
from gateway.core.months import PartitionMonth
from gateway.store.partitions.operations import turn_off, turn_on


def month_before(count: int) -> PartitionMonth:
    """The month that was so many months ago."""
    month = PartitionMonth.of(SystemClock().now())
    for _ in range(count):
        month = PartitionMonth.of(month.begins - timedelta(days=1))
    return month


async def partition_jobs(url: str, count: int = 5) -> None:
    """Partition the jobs of a database so that those made now have a month of their own.

    Of the `count` partitions one has what was before last month, and one the rest.
    """
    await turn_off(url, lambda _: None)  # where those of all tests are partitioned
    await turn_on(url, lambda _: None, month_before(1), __version__, ahead=count - 2)
