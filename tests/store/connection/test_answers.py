"""Statements that always return a row, on a connection that returns none."""

from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from gateway.store.connection.connect import PostgresSession
from gateway.store.database import Tx
from gateway.store.tenancy import access_keys, tenants
from gateway.store.webhooks import deliveries
from gateway.store.work import queues, restore_detection, submits, sweeps
from tests.builders import MADE_AT, key_of

ID = key_of().id
CALLS: dict[str, Callable[[Tx], Awaitable[object]]] = {
    "key": lambda tx: access_keys.add(tx, key_of(created_at=MADE_AT)),
    "credential": lambda tx: tenants.add_credential(tx, ID, ID, version=1, base_url="", sealed=b""),
    "late": lambda tx: sweeps.late(tx, 1.0, 1, 8.0),
    "states": queues.states,
    "beacon": restore_detection.beat,
    "beacon held": restore_detection.hold_beacon,
    "suspect jobs": lambda tx: submits.has_suspects(tx, 2),
    "suspect deliveries": lambda tx: deliveries.has_suspects(tx, 2),
}


class _Silent:
    """A connection of the driver on which no statement returns a row."""

    async def fetchrow(self, sql: str, *arguments: object) -> None:
        return None


@pytest.mark.parametrize("name", CALLS)
async def test_a_missing_row_is_a_defect(name: str) -> None:
    with pytest.raises(RuntimeError, match="always returns a row"):
        await CALLS[name](Tx(cast("PostgresSession", _Silent())))
