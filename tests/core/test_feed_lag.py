"""How long the feed is held up."""

from gateway.core.feed_lag import FeedLag


def test_a_feed_that_nothing_holds_up_does_not_lag() -> None:
    lag = FeedLag()
    assert [lag.note(5.0 * n, 100 + n, 100 + n) for n in range(5)] == [0.0] * 5


def test_transactions_that_come_and_go_hold_nothing_up() -> None:
    lag = FeedLag()
    # At each sample some are under way, all of them younger than the sample before.
    assert [lag.note(5.0 * n, 100 + 10 * n, 105 + 10 * n) for n in range(5)] == [0.0] * 5


def test_a_transaction_that_does_not_end_holds_it_up_until_it_ends() -> None:
    lag = FeedLag()
    assert [lag.note(5.0 * n, 100, 110 + n) for n in range(4)] == [0.0, 5.0, 10.0, 15.0]
    assert lag.note(20.0, 112, 120) == 5.0, "the third sample's are older than the oldest by now"
    assert lag.note(25.0, 130, 130) == 0.0


def test_another_server_is_no_reason_to_complain() -> None:
    lag = FeedLag()
    lag.note(0.0, 1_000, 1_010)
    assert lag.note(5.0, 20, 20) == 0.0
    assert lag.note(10.0, 21, 21) == 0.0


def test_what_it_remembers_is_bounded() -> None:
    lag = FeedLag()
    for n in range(10_000):
        lag.note(float(n), 100, 110 + n)
    assert lag.note(20_000.0, 100, 99_999) == 20_000.0
    assert len(vars(lag)["_samples"]) <= 4_000
