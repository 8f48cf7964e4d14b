"""What must answer with a row, and a database that does not."""

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
    """A driver's connection on which no statement has an answer."""

    async def fetchrow(self, sql: str, *arguments: object) -> None:
        return None


@pytest.mark.parametrize("name", CALLS)
async def test_no_answer_is_a_defect_and_not_an_empty_one(name: str) -> None:
    with pytest.raises(RuntimeError, match="always has a row"):
        await CALLS[name](Tx(cast("PostgresSession", _Silent())))
