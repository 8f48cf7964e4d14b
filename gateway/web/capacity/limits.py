"""The HTTP limits of one process."""

from dataclasses import dataclass

from gateway.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bytes of one request body, of all of them together, and the longest wait in seconds."""

    max_body_bytes: int = 1024 * 1024
    body_memory_bytes: int = 64 * 1024 * 1024
    max_wait_seconds: float = 55.0

    @classmethod
    def of(cls, settings: Settings) -> "HttpLimits":
        """From the settings."""
        return cls(
            max_body_bytes=settings.max_body_bytes,
            body_memory_bytes=settings.body_memory_bytes,
            max_wait_seconds=settings.max_wait_seconds,
        )
