"""Claims whose answer was lost: what they took is known by their token alone."""

from typing import Literal
from uuid import UUID

from gateway.store.database import Tx

Kind = Literal["submit", "doubt", "poll", "deliver"]

# What was taken was not begun, so it is as if it never had been.
_GIVE_BACK: dict[Kind, str] = {
    "submit": """
UPDATE job SET state = 'accepted', next_at = now(), lease_token = NULL, version = version + 1,
  strikes = strikes - 1, submit_attempts = submit_attempts - 1
WHERE state = 'submitting' AND lease_token = $1""",
    "doubt": """
UPDATE job SET next_at = now(), lease_token = NULL
WHERE state = 'submitting' AND lease_token = $1""",
    "poll": """
UPDATE credential SET poll_at = now(), poll_lease_until = NULL, poll_token = NULL,
  poll_strikes = poll_strikes - 1
WHERE poll_at IS NOT NULL AND poll_token = $1""",
    "deliver": """
UPDATE delivery SET next_at = now(), lease_token = NULL, strikes = strikes - 1,
  attempts = attempts - 1
WHERE state = 'pending' AND lease_token = $1""",
}


async def give_back(tx: Tx, kind: Kind, token: UUID) -> int:
    """Have all that a claim took taken again at once; how much that was."""
    return await tx.run(_GIVE_BACK[kind], token)
