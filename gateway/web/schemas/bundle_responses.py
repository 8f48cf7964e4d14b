"""The response with a support bundle."""

from collections.abc import Sequence
from typing import Self, cast

import msgspec

from gateway import __version__
from gateway.core.model import Attempt, Delivery, DeliveryState
from gateway.flows.admin.support_bundle import SupportBundle
from gateway.flows.read.timeline import TimelineEntry
from gateway.store.tenancy.tenants import CredentialInUse
from gateway.web.schemas.admin_responses import TenantLoadOut
from gateway.web.schemas.delivery_responses import (
    EventText,
    OutcomeText,
    TimingsOut,
    timings_of,
)
from gateway.web.schemas.responses import (
    Id,
    JobOut,
    Moment,
    Out,
    Time,
    maybe_id,
    maybe_stamp,
    stamp,
)


class BundleVersions(Out):
    """The version of the gateway, and the revision of its schema."""

    gateway: str
    schema: str


class BundleExplanation(Out):
    """Where the job stands, why, who acts, and what to do."""

    state: str
    cause: str
    who_acts: str
    what_to_do: str


class BundleAttempt(Out):
    """One attempt, without headers and bodies."""

    number: int
    started_at: Time
    duration_ms: int
    status: int | None
    error_class: OutcomeText | None
    detail: str | None
    timings: TimingsOut
    next_attempt_at: Time | None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The response for an attempt."""
        return cls(
            attempt.number,
            stamp(attempt.started_at),
            attempt.duration_ms,
            attempt.status,
            attempt.error_class,
            attempt.detail,
            timings_of(attempt),
            maybe_stamp(attempt.next_at),
        )


class BundleWebhook(Out):
    """A webhook of the job; its URL is without user and query."""

    id: Id
    event_id: Id
    type: EventText
    endpoint_id: Id | None
    url: str
    state: DeliveryState
    attempts: list[BundleAttempt]

    @classmethod
    def of(cls, delivery: Delivery, attempts: Sequence[Attempt]) -> Self:
        """The response for a delivery."""
        return cls(
            str(delivery.id),
            str(delivery.event_id),
            delivery.event_type,
            maybe_id(delivery.endpoint_id),
            delivery.url,
            delivery.state,
            [BundleAttempt.of(one) for one in attempts],
        )


class BundleCredential(Out):
    """The state of the tenant's newest credential; never the key itself."""

    version: int
    created_at: Time
    rejected_at: Time | None
    rejected_reason: str | None
    failures: int
    paused_until: Time | None

    @classmethod
    def of(cls, credential: CredentialInUse) -> Self:
        """The response for a version."""
        return cls(
            credential.version,
            stamp(credential.created_at),
            maybe_stamp(credential.rejected_at),
            credential.rejected_reason,
            credential.failures,
            maybe_stamp(credential.paused_until),
        )


class SupportBundleOut(Out, kw_only=True):
    """What explains one job. Without `hasPayloads` its input, result and metadata are empty."""

    made_at: Time
    versions: BundleVersions
    has_payloads: bool
    job: JobOut
    explanation: BundleExplanation
    timeline: list[Moment]
    webhooks: list[BundleWebhook]
    load: TenantLoadOut
    credential: BundleCredential | None

    @classmethod
    def of(cls, bundle: SupportBundle) -> Self:
        """The response for a bundle; its job is written as it is, so that no number loses digits."""
        return cls(
            made_at=stamp(bundle.made_at),
            versions=BundleVersions(__version__, bundle.revision),
            has_payloads=bundle.has_payloads,
            job=cast("JobOut", msgspec.Raw(bundle.job.encode())),
            explanation=BundleExplanation(*bundle.explanation),
            timeline=moments_of(bundle.timeline),
            webhooks=[BundleWebhook.of(*one) for one in bundle.webhooks],
            load=TenantLoadOut.of(bundle.load, bundle.limits),
            credential=BundleCredential.of(bundle.credential) if bundle.credential else None,
        )

    def file(self) -> bytes:
        """The bundle as a file for people: JSON, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def moments_of(entries: Sequence[TimelineEntry]) -> list[Moment]:
    """A timeline as it is shown."""
    before = [one.at for one in (*entries[:1], *entries)]
    return [
        Moment(
            stamp(one.at), round((one.at - at).total_seconds(), 3), one.type, one.text, one.detail
        )
        for at, one in zip(before, entries, strict=False)
    ]
