"""Responses about deliveries, attempts and tests of endpoints."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Self

from msgspec import Meta

from gateway.core.model import Attempt, Delivery, DeliveryState
from gateway.flows.deliver.sample import SampleDelivery
from gateway.store.delivery_search.filter import DELIVERED
from gateway.web.schemas.responses import (
    Address,
    Id,
    Out,
    Time,
    maybe_id,
    maybe_stamp,
    one_of,
    stamp,
)
from gateway.web.schemas.webhook_requests import EventName, Outcome

_PHASES = ("dns", "connect", "tls", "firstByte")


EventText = Annotated[str, Meta(extra_json_schema=one_of(EventName))]
OutcomeText = Annotated[str, Meta(extra_json_schema=one_of(Outcome))]


class DeliveryOut(Out, kw_only=True):
    """The delivery of an event to a receiver; `outcome` is the last attempt's. A test is sent once."""

    id: Id
    event_id: Id
    type: EventText
    job_id: Id | None
    endpoint_id: Id | None
    url: Address
    state: DeliveryState
    outcome: OutcomeText | None
    attempt_count: int
    next_attempt_at: Time | None
    last_status: int | None
    last_error: str | None
    resent_at: Time | None
    test: bool
    created_at: Time
    completed_at: Time | None

    @classmethod
    def of(cls, delivery: Delivery, **more: Any) -> Self:  # noqa: ANN401 - fields of a subclass
        """The response for a delivery."""
        waits = delivery.state is DeliveryState.PENDING
        is_delivered = delivery.state is DeliveryState.DELIVERED
        return cls(
            id=str(delivery.id),
            event_id=str(delivery.event_id),
            type=delivery.event_type,
            job_id=maybe_id(delivery.job_id),
            endpoint_id=maybe_id(delivery.endpoint_id),
            url=delivery.url,
            state=delivery.state,
            outcome=DELIVERED if is_delivered else delivery.last_class,
            attempt_count=delivery.attempts,
            next_attempt_at=maybe_stamp(delivery.next_at) if waits else None,
            last_status=delivery.last_status,
            last_error=delivery.last_error,
            resent_at=maybe_stamp(delivery.resent_at),
            test=delivery.is_sample,
            created_at=stamp(delivery.created_at),
            completed_at=maybe_stamp(delivery.completed_at),
            **more,
        )


class TimingsOut(Out):
    """How long each phase took; null if there was none, as on a kept connection."""

    dns_ms: float | None
    connect_ms: float | None
    tls_ms: float | None
    first_byte_ms: float | None


class AttemptOut(Out):
    """One attempt. Bodies are cut at 16 KiB; of hundreds of attempts some have no headers and body."""

    number: int
    started_at: Time
    duration_ms: int
    url: Address
    request_headers: dict[str, str]
    status: int | None
    response_headers: dict[str, str] | None
    response_body: str | None
    error_class: OutcomeText | None
    detail: str | None
    timings: TimingsOut
    next_attempt_at: Time | None
    truncated: bool

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The response for an attempt."""
        return cls(
            attempt.number,
            stamp(attempt.started_at),
            attempt.duration_ms,
            attempt.url,
            json.loads(attempt.request_headers),
            attempt.status,
            _maybe_headers(attempt),
            attempt.response_body,
            attempt.error_class,
            attempt.detail,
            timings_of(attempt),
            maybe_stamp(attempt.next_at),
            attempt.truncated,
        )


class DeliveryWithAttempts(DeliveryOut, kw_only=True):
    """A delivery with the exact body that every attempt sends, and all attempts."""

    request_body: str
    attempts: list[AttemptOut]

    @classmethod
    def of_all(cls, delivery: Delivery, body: str, attempts: Iterable[Attempt]) -> Self:
        """The response for a delivery and its attempts."""
        tries = [AttemptOut.of(one) for one in attempts]
        return cls.of(delivery, request_body=body, attempts=tries)


class RequestOut(Out):
    """The request that was sent."""

    headers: dict[str, str]
    body: str


class ResponseOut(Out):
    """The response that came back; the body up to 16 KiB."""

    status: int
    headers: dict[str, str] | None
    body: str | None


class TrialOut(Out):
    """A test of an endpoint: the request and the response, which is null if none came back."""

    delivery_id: Id
    event_id: Id
    type: EventText
    delivered: bool
    request: RequestOut
    response: ResponseOut | None
    error_class: OutcomeText | None
    detail: str | None
    duration_ms: int
    timings: TimingsOut

    @classmethod
    def of(cls, trial: SampleDelivery) -> Self:
        """The response for a test."""
        attempt = trial.attempt
        return cls(
            str(trial.delivery_id),
            str(trial.event_id),
            trial.type,
            trial.delivered,
            RequestOut(json.loads(attempt.request_headers), trial.body),
            ResponseOut(attempt.status, _maybe_headers(attempt), attempt.response_body)
            if attempt.status is not None
            else None,
            attempt.error_class,
            attempt.detail,
            attempt.duration_ms,
            timings_of(attempt),
        )


def _maybe_headers(attempt: Attempt) -> dict[str, str] | None:
    headers = attempt.response_headers
    return None if headers is None else json.loads(headers)


def timings_of(attempt: Attempt) -> TimingsOut:
    """The phases of an attempt."""
    seconds: dict[str, float] = json.loads(attempt.timings or "{}")
    return TimingsOut(
        *(round(seconds[name] * 1000, 3) if name in seconds else None for name in _PHASES)
    )
