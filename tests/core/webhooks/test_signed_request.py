from dataclasses import FrozenInstanceError

import pytest

from gateway.core.webhooks.signed_request import Reply, SendFault, Timings, Webhook


def test_what_was_not_measured_is_none() -> None:
    assert Reply(200, (), b"", 0.1).timings == SendFault("dns", "", 0.1).timings == Timings()
    assert Timings() == Timings(None, None, None, None)


def test_a_webhook_cannot_be_changed_after_it_was_signed() -> None:
    webhook = Webhook("https://a.example", (("webhook-id", "1"),), b"{}")
    with pytest.raises(FrozenInstanceError):
        webhook.body = b"other"  # pyright: ignore[reportAttributeAccessIssue]


def test_the_first_value_of_a_header_counts_whatever_its_case() -> None:
    headers = (("date", "5"), ("RETRY-AFTER", "7"), ("retry-after", "9"), ("x-retry-after", "1"))
    reply = Reply(429, headers, b"", 0.1)
    assert (reply.header("retry-after"), reply.header("after")) == ("7", None)
