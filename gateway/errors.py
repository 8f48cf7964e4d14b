"""The error tree: every error that a caller can get, with its code, HTTP status and title.

GatewayError
├── BadRequest 400            ├── RequestTimeout 408         ├── RateLimited 429
├── Unauthorized 401          ├── Conflict 409               │   └── NoRoom
├── Forbidden 403             │   └── CredentialMissing      │       ├── QueueFull
│   └── TenantSuspended       ├── PreconditionFailed 412     │       ├── StreamsFull
├── NotFound 404              ├── PayloadTooLarge 413        │       ├── BulkFull
└── MethodNotAllowed 405      ├── UnsupportedMediaType 415   │       └── TrialsFull
                              │                              ├── UpstreamUnavailable 502, 504
                              └── IdempotencyKeyReused 422   ├── Unavailable 503
                                                             └── SecretSealed 503
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field of a request; nested fields are joined by dots."""

    field: str
    reason: str


class GatewayError(Exception):
    """The root: a stable code, an HTTP status, a title, and a detail for this occurrence."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after


class BadRequest(GatewayError):  # noqa: N818 - these are named as HTTP names them
    """The request cannot be understood or breaks a rule."""

    code, status, title = "BAD_REQUEST", 400, "Bad request"

    @classmethod
    def of(cls, field: str, reason: str) -> "BadRequest":
        """One wrong field."""
        return cls(f"{field}: {reason}", errors=[FieldError(field, reason)])


class Unauthorized(GatewayError):  # noqa: N818
    """No access key, or one that is not valid."""

    code, status, title = "UNAUTHORIZED", 401, "Unauthorized"


class Forbidden(GatewayError):  # noqa: N818
    """The access key may not do this."""

    code, status, title = "FORBIDDEN", 403, "Forbidden"


class TenantSuspended(Forbidden):
    """The tenant is suspended by an operator."""

    code, title = "TENANT_SUSPENDED", "Tenant suspended"


class NotFound(GatewayError):  # noqa: N818
    """There is no such thing, or it is another tenant's."""

    code, status, title = "NOT_FOUND", 404, "Not found"


class MethodNotAllowed(GatewayError):  # noqa: N818
    """The path exists, but not for this method."""

    code, status, title = "METHOD_NOT_ALLOWED", 405, "Method not allowed"


class Conflict(GatewayError):  # noqa: N818
    """The request contradicts the present state."""

    code, status, title = "CONFLICT", 409, "Conflict"


class CredentialMissing(Conflict):
    """The tenant has no upstream credential, so nothing can be done for it."""

    code, title = "CREDENTIAL_MISSING", "Credential missing"


class PreconditionFailed(GatewayError):  # noqa: N818
    """The request has a condition that is not met."""

    code, status, title = "PRECONDITION_FAILED", 412, "Precondition failed"


class PayloadTooLarge(GatewayError):  # noqa: N818
    """The body is larger than is allowed."""

    code, status, title = "PAYLOAD_TOO_LARGE", 413, "Payload too large"


class RequestTimeout(GatewayError):  # noqa: N818
    """The body did not arrive in time."""

    code, status, title = "REQUEST_TIMEOUT", 408, "Request timed out"


class UnsupportedMediaType(GatewayError):  # noqa: N818
    """The body has a type that is not supported; `headers` of the answer name the supported ones."""

    code, status, title = "UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported media type"

    def __init__(self, field: str, reason: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{field}: {reason}", errors=[FieldError(field, reason)])
        self.headers = headers


class IdempotencyKeyReused(GatewayError):  # noqa: N818
    """The idempotency key was used before with another body."""

    code, status, title = "IDEMPOTENCY_KEY_REUSED", 422, "Idempotency key reused"


class RateLimited(GatewayError):  # noqa: N818
    """Too many requests."""

    code, status, title = "RATE_LIMITED", 429, "Rate limited"


class NoRoom(RateLimited):
    """A cap on concurrent things, `quota`, is reached; `room` is how many more fit."""

    policy: ClassVar[str]

    def __init__(self, detail: str, *, quota: int, room: int, retry_after: float) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.quota = quota
        self.room = room


class QueueFull(NoRoom):
    """The tenant has as many jobs waiting as it may have."""

    code, title, policy = "QUEUE_FULL", "Queue full", "queue"


class StreamsFull(NoRoom):
    """The caller, or the process, has as many streams open as it may have."""

    policy = "streams"


class BulkFull(NoRoom):
    """The tenant has as many bulk operations under way as it may have."""

    policy = "bulk"


class TrialsFull(NoRoom):
    """As many tests of endpoints are under way as there may be."""

    policy = "trials"


class UpstreamUnavailable(GatewayError):  # noqa: N818
    """The answer needs the upstream, which gave no usable answer."""

    code, status, title = "UPSTREAM_UNAVAILABLE", 502, "Upstream unavailable"


class UpstreamTimeout(UpstreamUnavailable):
    """The answer needs the upstream, which gave no answer in time."""

    status, title = 504, "Upstream timed out"


class Unavailable(GatewayError):  # noqa: N818
    """The database is unreachable, or the process has no room; nothing was accepted.

    `cause` and `place`, why and where, are for operators; `brief` is the cause without any name, for
    health checks; `detail` is for callers.
    """

    code, status, title = "UNAVAILABLE", 503, "Unavailable"

    def __init__(
        self,
        detail: str,
        *,
        retry_after: float | None = None,
        cause: str = "",
        brief: str = "",
        place: str = "",
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.cause = cause
        self.brief = brief or cause
        self.place = place


class DatabaseDenied(Unavailable):
    """The database refuses the gateway: a wrong login, or no such database."""


class Collision(Unavailable):
    """A deadlock or a serialization conflict; the transaction was rolled back, a retry succeeds."""


class SecretSealed(GatewayError):  # noqa: N818
    """No master key opens a secret that the answer needs; an operator has to restore the key."""

    code, status, title = "SECRET_SEALED", 503, "Secret sealed"

    @classmethod
    def of(cls, what: str) -> "SecretSealed":
        """One secret, in words."""
        return cls(
            f"No master key of the gateway opens {what}. Its operator has to put the key back."
        )
