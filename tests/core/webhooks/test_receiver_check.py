"""How the look at a receiver is judged, where no real server shows it."""

from datetime import UTC, datetime

from gateway.core.webhooks.receiver_check import StepName, StepResult, judge_check
from gateway.core.webhooks.receiver_probe import (
    FoundAddresses,
    ProbedTls,
    ReceiverProbe,
    TriedAddress,
)

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def test_a_refused_certificate_that_cannot_be_read_is_told_without_its_words():
    probe = ReceiverProbe(
        is_tls=True,
        lookup=FoundAddresses(("192.0.2.1",), 0.01),
        tried=(TriedAddress("192.0.2.1", 0.01),),
        tls=ProbedTls(0.02, fault="self-signed certificate", verify_code=18),
    )
    judged = judge_check(probe, None, NOW, sees_inside=False)
    step = next(one for one in judged.steps if one.name is StepName.TLS)
    assert step.result is StepResult.FAIL
    assert step.found == "The certificate was refused: self-signed certificate."
    assert judged.tls is not None
    assert judged.tls.days_left is None
