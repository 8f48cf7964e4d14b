"""The concurrency window of one receiver."""

from gateway.core.webhooks.concurrency_window import Window


def test_a_new_receiver_is_sent_a_few_and_nothing_is_claimed_ahead():
    window = Window(5, 100)
    assert (window.size, window.claims) == (5, 5)


def test_it_doubles_with_each_round_of_answers():
    window = Window(5, 100)
    for size in (10, 20, 40):
        for _ in range(window.size):
            window.answered(has_time=True)
        assert (window.size, window.claims) == (size, min(4 * size, 100))


def test_without_time_left_it_goes_back_to_its_start_and_no_further():
    window = Window(5, 100)
    for _ in range(20):
        window.answered(has_time=True)
    for _ in range(30):
        window.answered(has_time=False)
    assert window.size == 5


def test_failures_halve_it_down_to_two_and_end_claims_ahead():
    window = Window(5, 100)
    for _ in range(11):
        window.answered(has_time=True)
    for size in (8, 4, 2, 2):
        window.failed()
        assert (window.size, window.claims) == (size, size)
    window.answered(has_time=False)
    assert (window.size, window.claims) == (3, 12)


def test_it_grows_to_its_most_and_so_do_the_claims():
    window = Window(5, 12)
    for _ in range(3):
        window.answered(has_time=True)
    assert (window.size, window.claims) == (8, 12)
    for _ in range(9):
        window.answered(has_time=True)
    assert (window.size, window.claims) == (12, 12)
