"""Judge a check of a receiver: each step as good, a warning or a fault, and what to do. Pure.

A tenant must not find out which names and addresses exist in the operator's network. So for tenants
a name without an address and one with a forbidden address read the same, and addresses that only a
setting of the operator allows are not shown. Staff see both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.core.model import Attempt
from gateway.core.webhooks.failure_causes import failure_cause
from gateway.core.webhooks.receiver_probe import (
    FoundAddresses,
    ProbedTls,
    ReceiverProbe,
    ServerCertificate,
)

CHECK_SECONDS = 10.0
EXPIRES_SOON_DAYS = 14
_DAY_SECONDS = 86_400
_REDIRECT = 3
_MS = 1000
# What to do about OpenSSL's reasons to refuse a certificate.
_NEW_CERTIFICATE = "renew the certificate, and have the receiver load the new one"
_WHOLE_CHAIN = (
    "serve the certificate with its intermediate ones, from an authority that browsers trust"
)
_RIGHT_NAME = (
    "serve a certificate for the host of the URL, or put a host that it names into the URL"
)
_VERIFY_ADVICE = {
    9: "set the clock of the machine that made the certificate, or wait until it is valid",
    10: _NEW_CERTIFICATE,
    18: "use a certificate from an authority that browsers trust, instead of a self-signed one",
    19: _WHOLE_CHAIN,
    20: _WHOLE_CHAIN,
    21: _WHOLE_CHAIN,
    62: _RIGHT_NAME,
    64: _RIGHT_NAME,
}
_TLS_ADVICE = "serve TLS 1.2 or later at this port, with a certificate for the host of the URL"


class StepResult(StrEnum):
    """How a step went; `skipped` if an earlier step failed or the URL does not need it."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class StepName(StrEnum):
    """The steps in their order."""

    DNS = "dns"
    GUARD = "guard"
    CONNECT = "connect"
    TLS = "tls"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """A step: what was found, and what to do about it; `seconds` is None where it took none."""

    name: StepName
    result: StepResult
    found: str
    to_do: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CheckedTls:
    """The TLS of a receiver, as far as it could be read."""

    protocol: str
    is_verified: bool
    certificate: ServerCertificate | None
    days_left: int | None


@dataclass(frozen=True, slots=True)
class JudgedCheck:
    """All steps, and what they found as values."""

    steps: tuple[CheckedStep, ...]
    addresses: tuple[str, ...]
    tls: CheckedTls | None

    @property
    def result(self) -> StepResult:
        """The worst result of a step."""
        found = {one.result for one in self.steps}
        return next(
            (one for one in (StepResult.FAIL, StepResult.WARN) if one in found), StepResult.OK
        )


def judge_check(
    probe: ReceiverProbe, request: CheckedStep | None, now: datetime, *, sees_inside: bool
) -> JudgedCheck:
    """Judge what was found; `sees_inside` is for staff. Without a `request` none could be sent."""
    unsent = CheckedStep(StepName.REQUEST, StepResult.SKIPPED, "No request was sent.")
    steps = (
        *_resolving(probe, sees_inside=sees_inside),
        _connecting(probe, sees_inside=sees_inside),
        _securing(probe, now),
        request or unsent,
    )
    return JudgedCheck(steps, _shown(probe, sees_inside=sees_inside), _tls_of(probe, now))


def judge_request(attempt: Attempt, location: str | None) -> CheckedStep:
    """Judge the answer to the test request; `location` is where a redirect points."""
    seconds = attempt.duration_ms / _MS
    if attempt.error_class is None:
        found = f"The test event was answered with HTTP {attempt.status}."
        return CheckedStep(StepName.REQUEST, StepResult.OK, found, seconds=seconds)
    cause = failure_cause(attempt.error_class)
    if attempt.status is None:
        found = attempt.detail or f"The request failed: {attempt.error_class}."
    elif attempt.status // 100 == _REDIRECT:
        where = f" to {location}" if location else ""
        found = f"It was answered with HTTP {attempt.status}, a redirect{where}. Redirects are not followed."
    else:
        found = f"The test event was answered with HTTP {attempt.status}: {cause.cause}."
    return CheckedStep(StepName.REQUEST, StepResult.FAIL, found, cause.what_to_do, seconds)


def _resolving(probe: ReceiverProbe, *, sees_inside: bool) -> Iterator[CheckedStep]:
    """The steps DNS and guard."""
    lookup = probe.lookup
    if lookup is None:
        yield _skipped(StepName.DNS)
        if probe.url_fault:
            to_do = "change the URL of the endpoint"
            yield CheckedStep(StepName.GUARD, StepResult.FAIL, probe.url_fault, to_do)
        else:
            yield CheckedStep(StepName.GUARD, StepResult.FAIL, "The time was over.", "check again")
        return
    if lookup.fault or (probe.refused and not sees_inside):
        yield _unresolved(lookup, sees_inside=sees_inside)
        yield _skipped(StepName.GUARD)
        return
    addresses = ", ".join(_shown(probe, sees_inside=sees_inside)) or "an address inside"
    found = f"The name resolves to {addresses}."
    if lookup.seconds is None:
        yield CheckedStep(StepName.DNS, StepResult.SKIPPED, "The URL has an address, not a name.")
    else:
        yield CheckedStep(StepName.DNS, StepResult.OK, found, seconds=lookup.seconds)
    if probe.refused:
        refused = f"The guard refuses {', '.join(probe.refused)}, so the host is not called."
        to_do = "use a name with public addresses only, or let an operator allow the network"
        yield CheckedStep(StepName.GUARD, StepResult.FAIL, refused, to_do)
    else:
        yield CheckedStep(StepName.GUARD, StepResult.OK, "Every address may be called.")


def _unresolved(lookup: FoundAddresses, *, sees_inside: bool) -> CheckedStep:
    # A slow lookup says so to everybody, as a delivery does.
    is_slow = "within" in lookup.fault or "hang" in lookup.fault
    found = f"The name {lookup.fault}."
    if not sees_inside and not is_slow:
        found = "The name has no address that may be called: it does not resolve, or not to public addresses only."
    to_do = "check the host in the URL, and its A and AAAA records"
    return CheckedStep(StepName.DNS, StepResult.FAIL, found, to_do, lookup.seconds)


def _connecting(probe: ReceiverProbe, *, sees_inside: bool) -> CheckedStep:
    if not probe.tried:
        return _skipped(StepName.CONNECT)
    last = probe.tried[-1]
    failed = [one for one in probe.tried if one.fault]

    def name(address: str) -> str:
        return address if sees_inside or address not in probe.inside else "an address inside"

    faults = "; ".join(f"{name(one.address)}: {one.fault}" for one in failed)
    if last.fault:
        to_do = "start the receiver, open its port to the gateway, and check the port in the URL"
        return CheckedStep(StepName.CONNECT, StepResult.FAIL, f"{faults}.", to_do, last.seconds)
    through = " through the egress proxy" if probe.has_proxy else ""
    found = f"Connected to {name(last.address)}{through}."
    if failed:
        to_do = "make every address of the name answer, or take the record of the other away"
        text = f"{found} Others failed: {faults}."
        return CheckedStep(StepName.CONNECT, StepResult.WARN, text, to_do, last.seconds)
    return CheckedStep(StepName.CONNECT, StepResult.OK, found, seconds=last.seconds)


def _securing(probe: ReceiverProbe, now: datetime) -> CheckedStep:
    tls = probe.tls
    if tls is None:
        if probe.is_tls or not probe.tried or probe.tried[-1].fault:
            return _skipped(StepName.TLS)
        found = "The URL is http, so neither the receiver nor the content is protected."
        return CheckedStep(StepName.TLS, StepResult.WARN, found, "use https")
    if tls.fault:
        found = f"{tls.fault[:1].upper()}{tls.fault[1:]}."
        to_do = _VERIFY_ADVICE.get(tls.verify_code, _TLS_ADVICE)
        if tls.verify_code:
            found = f"The certificate was refused: {tls.fault}.{_told(tls, now)}"
        return CheckedStep(StepName.TLS, StepResult.FAIL, found, to_do, tls.seconds)
    found = f"{tls.protocol}, and the chain was verified.{_told(tls, now)}"
    left = _days_left(tls, now)
    if left is not None and left < EXPIRES_SOON_DAYS:
        return CheckedStep(StepName.TLS, StepResult.WARN, found, _NEW_CERTIFICATE, tls.seconds)
    return CheckedStep(StepName.TLS, StepResult.OK, found, seconds=tls.seconds)


def _told(tls: ProbedTls, now: datetime) -> str:
    """What a certificate says, as sentences."""
    certificate = tls.certificate
    if certificate is None:
        return ""
    left = _days_left(tls, now) or 0
    names = ", ".join(certificate.names) or "no name"
    day = f"{certificate.not_after:%Y-%m-%d}"
    count = f"{abs(left)} day{'' if abs(left) == 1 else 's'}"
    ends = f"It ended on {day}" if certificate.not_after < now else f"It ends in {count}, on {day}"
    return f" It is for {names}, from {certificate.issuer or 'an issuer without a name'}. {ends}."


def _days_left(tls: ProbedTls, now: datetime) -> int | None:
    if tls.certificate is None:
        return None
    return int((tls.certificate.not_after - now).total_seconds() // _DAY_SECONDS)


def _tls_of(probe: ReceiverProbe, now: datetime) -> CheckedTls | None:
    tls = probe.tls
    if tls is None:
        return None
    return CheckedTls(tls.protocol, not tls.fault, tls.certificate, _days_left(tls, now))


def _shown(probe: ReceiverProbe, *, sees_inside: bool) -> tuple[str, ...]:
    """The addresses that the reader may know of."""
    if probe.lookup is None or (probe.refused and not sees_inside):
        return ()
    hidden = () if sees_inside else probe.inside
    return tuple(one for one in probe.lookup.addresses if one not in hidden)


def _skipped(name: StepName) -> CheckedStep:
    return CheckedStep(
        name, StepResult.SKIPPED, "Not reached." if name != StepName.DNS else "Not needed."
    )
