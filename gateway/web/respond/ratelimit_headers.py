"""The headers of rate limits and quotas.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

import math


def rate_headers(
    name: str, quota: int, remaining: int, reset: float, window: int | None = 1
) -> list[tuple[bytes, bytes]]:
    """The policy: `quota` per window of seconds; and `remaining` of it until `reset` seconds from now."""
    policy = f'"{name}";q={quota}' + ("" if window is None else f";w={window}")
    left = f'"{name}";r={max(remaining, 0)};t={max(1, math.ceil(reset))}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())]
