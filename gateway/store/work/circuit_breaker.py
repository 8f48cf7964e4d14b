"""The health of a credential: its circuit breaker, its room for submits, and whether it is rejected.

Failures of the upstream are counted per credential and pause it; enough of them in a row open its
circuit breaker, and the claims then take a single job or round as a probe. The room narrows by additive
increase, multiplicative decrease (AIMD). Each function changes one row, or those of one tenant.
"""

from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Statement

# How much the room grows with each round of submits that it admits.
_WIDER = 4

_FAILED = Statement(
    """
UPDATE credential SET
  failures = failures + CASE WHEN paused_until > now() AND NOT :probe::bool THEN 0 ELSE 1 END,
  submit_room = CASE WHEN paused_until > now() AND NOT :probe::bool THEN submit_room
    ELSE GREATEST(1, COALESCE(submit_room, :room::int) / 2) END,
  paused_until = GREATEST(CASE WHEN :probe THEN NULL ELSE paused_until END,
    now() + :pause * interval '1 second')
WHERE id = :credential_id"""
)

_RECOVERED = Statement(
    """
UPDATE credential SET failures = 0, paused_until = NULL, rejected_at = NULL, rejected_reason = NULL,
  submit_room = CASE WHEN submit_room < :room THEN
    submit_room + GREATEST(LEAST(:submits::int, 1), :wider::int * :submits / submit_room) END
WHERE id = :credential_id"""
)

_PAUSE = Statement(
    """
UPDATE credential SET paused_until = now() + :seconds * interval '1 second'
WHERE id = :credential_id"""
)

_UNPAUSE = Statement("UPDATE credential SET paused_until = NULL WHERE id = :credential_id")

_REJECT = Statement(
    """
UPDATE credential c SET rejected_at = now(), rejected_reason = :reason,
  paused_until = CASE WHEN n.superseded THEN NULL ELSE now() + :pause * interval '1 second' END
FROM (SELECT o.id, o.rejected_at IS NULL AS is_news, EXISTS (SELECT 1 FROM credential later
    WHERE later.tenant_id = o.tenant_id AND later.version > o.version) AS superseded
  FROM credential o WHERE o.id = :credential_id FOR UPDATE OF o) AS n
WHERE c.id = n.id RETURNING n.is_news, n.superseded"""
)

_RECONSIDER = (
    Statement(
        """
UPDATE credential SET paused_until = NULL
WHERE tenant_id = :tenant_id AND rejected_at IS NOT NULL"""
    ),
    Statement(
        """
UPDATE job SET next_at = now() FROM credential c WHERE c.id = job.credential_id
  AND c.rejected_at IS NOT NULL AND job.tenant_id = :tenant_id AND job.state = 'submitting'
  AND job.lease_token IS NULL AND job.next_at > now()"""
    ),
)


async def failed(tx: Tx, credential_id: UUID, pause: float, *, probe: bool, room: int) -> None:
    """Count a failure of the upstream, pause the credential for `pause` seconds, and halve its room.

    A failure while the credential is paused belongs to the same trouble and is not counted again,
    unless it is that of a probe. `room` is the full room.
    """
    await _FAILED.run(tx, credential_id=credential_id, pause=pause, probe=probe, room=room)


async def well(tx: Tx, credential_id: UUID, *, submits: int, room: int) -> None:
    """Close the circuit breaker: the upstream answers. The room widens with the submits it admitted."""
    await _RECOVERED.run(tx, credential_id=credential_id, submits=submits, room=room, wider=_WIDER)


async def rest(tx: Tx, credential_id: UUID, seconds: float) -> None:
    """Pause a credential without counting a failure of the upstream."""
    await _PAUSE.run(tx, credential_id=credential_id, seconds=seconds)


async def unpause(tx: Tx, credential_id: UUID) -> None:
    """Give a probe back that was not used."""
    await _UNPAUSE.run(tx, credential_id=credential_id)


async def reject(tx: Tx, credential_id: UUID, reason: str, pause: float) -> tuple[bool, bool]:
    """Park a credential that the upstream refuses; returns whether that is news, and is superseded.

    It is superseded where the tenant has a later version.
    """
    row = await _REJECT.row(tx, credential_id=credential_id, reason=reason, pause=pause)
    return (row.is_news, row.superseded) if row else (False, False)


async def reconsider(tx: Tx, tenant_id: UUID) -> None:
    """End the pauses of a tenant's rejected credentials, and have their jobs in doubt looked up at once.

    Called when the tenant has a new credential to look them up with.
    """
    for statement in _RECONSIDER:
        await statement.run(tx, tenant_id=tenant_id)
