"""Responses about checks of receivers."""

from typing import Annotated, Self

from msgspec import Meta

from gateway.core.webhooks.receiver_check import CheckedTls, StepName, StepResult
from gateway.flows.deliver.check_receiver import ReceiverCheck
from gateway.web.schemas.responses import Id, Out, Time, maybe_id, stamp

_MS = 1000


class CheckStepOut(Out):
    """One step: what was found, and what to do about it."""

    step: StepName
    result: StepResult
    found: str
    to_do: str
    duration_ms: int | None


class CheckTlsOut(Out):
    """The TLS of the receiver. A refused certificate is described, too, as far as it can be read."""

    protocol: str
    verified: bool
    names: list[str]
    issuer: str | None
    not_after: Time | None
    days_left: int | None

    @classmethod
    def of(cls, tls: CheckedTls) -> Self:
        """The response for a handshake."""
        read = tls.certificate
        return cls(
            tls.protocol,
            tls.is_verified,
            list(read.names) if read else [],
            read.issuer if read else None,
            stamp(read.not_after) if read else None,
            tls.days_left,
        )


class EndpointCheckOut(Out, kw_only=True):
    """A check of a receiver: `result` is the worst of its steps."""

    result: StepResult
    steps: list[CheckStepOut]
    addresses: list[Annotated[str, Meta(max_length=45)]]
    tls: CheckTlsOut | None
    status: int | None
    location: str | None
    delivery_id: Id | None
    checked_at: Time
    duration_ms: int

    @classmethod
    def of(cls, check: ReceiverCheck) -> Self:
        """The response for a check."""
        judged, trial = check.judged, check.trial
        return cls(
            result=judged.result,
            steps=[
                CheckStepOut(one.name, one.result, one.found, one.to_do, _ms(one.seconds))
                for one in judged.steps
            ],
            addresses=list(judged.addresses),
            tls=CheckTlsOut.of(judged.tls) if judged.tls else None,
            status=trial.attempt.status if trial else None,
            location=check.location,
            delivery_id=maybe_id(trial.delivery_id if trial else None),
            checked_at=stamp(check.at),
            duration_ms=_ms(check.seconds) or 0,
        )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * _MS)
