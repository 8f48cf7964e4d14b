"""Undo claims whose answer was lost: their rows are found by the fencing token alone.

Called when the connection breaks between the claim's commit and its answer. Without it the rows would wait
until their lease lapses.
"""

from collections.abc import Mapping
from typing import Final, Literal
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Statement

Kind = Literal["submit", "doubt", "poll", "deliver"]

# Nobody has begun this work, so neither the attempt nor the strike counts.
_GIVE_BACK: Final[Mapping[Kind, Statement]] = {
    "submit": Statement(
        """
UPDATE job SET state = 'accepted', next_at = now(), lease_token = NULL, version = version + 1,
  strikes = strikes - 1, submit_attempts = submit_attempts - 1
WHERE state = 'submitting' AND lease_token = :token"""
    ),
    "doubt": Statement(
        """
UPDATE job SET next_at = now(), lease_token = NULL
WHERE state = 'submitting' AND lease_token = :token"""
    ),
    "poll": Statement(
        """
UPDATE credential SET poll_at = now(), poll_lease_until = NULL, poll_token = NULL,
  poll_strikes = poll_strikes - 1
WHERE poll_at IS NOT NULL AND poll_token = :token"""
    ),
    "deliver": Statement(
        """
UPDATE delivery SET next_at = now(), lease_token = NULL, strikes = strikes - 1,
  attempts = attempts - 1
WHERE state = 'pending' AND lease_token = :token"""
    ),
}


async def give_back(tx: Tx, kind: Kind, token: UUID) -> int:
    """Undo a claim: its rows are due at once; returns how many."""
    return await _GIVE_BACK[kind].run(tx, token=token)
