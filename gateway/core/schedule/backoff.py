"""When to try again after a failure: exponential back-off, and the retry schedule of deliveries. Pure.

- After faults of the upstream a credential rests: 0.5 s doubling to 40 s, or for its Retry-After.
- A job that the upstream does not know is asked about again a few times.
- Deliveries have a fixed schedule over three days, with added jitter.

All durations are in seconds; the jitter is an argument.
"""

from collections.abc import Sequence

from gateway.core.policy import Policy

_LONGEST_REST = 40.0


def pause(failures: int, retry_after: float | None, jitter: float) -> float:
    """Exponential back-off of a credential after its nth failure in a row: 0.5 s doubling to 40 s.

    With this cap jobs in doubt are settled within a minute after the upstream has recovered. Its
    Retry-After takes the place of the back-off, clamped to 0.1 s to 10 minutes.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.1), 600.0)
    return min(0.5 * 2.0 ** min(failures, 7), _LONGEST_REST) * (1.0 + 0.2 * jitter)


def absence_delay(seen: int, policy: Policy) -> float | None:
    """Seconds until a job that was absent `seen` times is polled again; None when it is given up."""
    return policy.absence_delays[seen - 1] if seen <= len(policy.absence_delays) else None


def redelivery(
    attempts: int,
    policy: Policy,
    *,
    delays: Sequence[float] | None = None,
    retry_after: float | None,
    jitter: float,
) -> float | None:
    """Seconds until the next attempt of a delivery; None when it is exhausted (a dead letter).

    `delays` take the place of the policy's. Jitter adds at most a tenth; Retry-After can only make
    the wait longer.
    """
    schedule = policy.delivery_delays if delays is None else delays
    if attempts > len(schedule):
        return None
    delay = schedule[attempts - 1] * (1.0 + 0.1 * jitter)
    return max(delay, min(retry_after or 0.0, policy.retry_after_max))
