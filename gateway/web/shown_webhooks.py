"""Endpoints, deliveries and attempts as callers are shown them."""

import json
from collections.abc import Iterable
from typing import Any, Self
from uuid import UUID

from gateway.core.model import Attempt, Delivery, DeliveryState, Endpoint
from gateway.web.shown import Out, maybe_stamp, stamp


class EndpointOut(Out, kw_only=True):
    """A receiver of webhooks; no events means all of them."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    disabled: bool
    disabled_reason: str | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, endpoint: Endpoint, **more: str) -> Self:
        """Show an endpoint."""
        return cls(
            id=str(endpoint.id),
            url=endpoint.url,
            events=endpoint.events,
            description=endpoint.description,
            disabled=endpoint.disabled_at is not None,
            disabled_reason=endpoint.disabled_reason,
            created_at=stamp(endpoint.created_at),
            updated_at=stamp(endpoint.updated_at),
            **more,
        )


class EndpointMade(EndpointOut, kw_only=True):
    """A new receiver, with its signing secret."""

    secret: str


class SecretOut(Out):
    """A signing secret."""

    secret: str


class DeliveryOut(Out, kw_only=True):
    """One event owed to one receiver."""

    id: str
    event_id: str
    type: str
    job_id: str | None
    endpoint_id: str | None
    url: str
    state: DeliveryState
    attempt_count: int
    next_attempt_at: str | None
    last_status: int | None
    last_error: str | None
    created_at: str
    completed_at: str | None

    @classmethod
    def of(cls, delivery: Delivery, **more: list[Any]) -> Self:
        """Show a delivery."""
        waits = delivery.state is DeliveryState.PENDING
        return cls(
            id=str(delivery.id),
            event_id=str(delivery.event_id),
            type=delivery.event_type,
            job_id=_maybe_id(delivery.job_id),
            endpoint_id=_maybe_id(delivery.endpoint_id),
            url=delivery.url,
            state=delivery.state,
            attempt_count=delivery.attempts,
            next_attempt_at=maybe_stamp(delivery.next_at) if waits else None,
            last_status=delivery.last_status,
            last_error=delivery.last_error,
            created_at=stamp(delivery.created_at),
            completed_at=maybe_stamp(delivery.completed_at),
            **more,
        )


class AttemptOut(Out):
    """One HTTP try; bodies up to 16 KiB."""

    number: int
    started_at: str
    duration_ms: int
    url: str
    request_headers: dict[str, Any]
    status: int | None
    response_headers: dict[str, Any] | None
    response_body: str | None
    error_class: str | None
    detail: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """Show an attempt."""
        answered = attempt.response_headers
        return cls(
            attempt.number,
            stamp(attempt.started_at),
            attempt.duration_ms,
            attempt.url,
            json.loads(attempt.request_headers),
            attempt.status,
            None if answered is None else json.loads(answered),
            attempt.response_body,
            attempt.error_class,
            attempt.detail,
        )


class DeliveryWithAttempts(DeliveryOut, kw_only=True):
    """A delivery and all that was tried for it."""

    attempts: list[AttemptOut]

    @classmethod
    def of_all(cls, delivery: Delivery, attempts: Iterable[Attempt]) -> Self:
        """Show a delivery and its attempts."""
        return cls.of(delivery, attempts=[AttemptOut.of(one) for one in attempts])


def _maybe_id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
