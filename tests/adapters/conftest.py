"""What sends webhooks is tried on both event loops: the one of production, and Python's own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]

ONE: Loops = {"asyncio": asyncio.new_event_loop}
BOTH: Loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
SENDING = {
    f"test_{name}"
    for name in (
        *("canary", "connections", "connector", "egress", "exchange", "heads"),
        *("probe", "sender", "sender_again", "sender_tls", "timings", "vetting"),
    )
}


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Loops:
    return BOTH if item.path.stem in SENDING else ONE
