"""Metrics: what is observed is counted, under labels that stay few."""

from uuid import UUID

from prometheus_client import generate_latest

from gateway import __version__, metrics

TENANT = UUID(int=7)


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def grown(work: str, outcome: str, sample: str, seconds: float = 0.5, /, **given: object) -> float:
    """How much one observation adds to a sample; its labels are in `labels`."""
    labels = given.pop("labels", {})
    assert isinstance(labels, dict)
    before = value(sample, **labels)
    metrics.observe(work, outcome, seconds, given)
    return value(sample, **labels) - before


def test_requests_are_counted_by_route():
    labels = {"method": "POST", "route": "/v1/job", "status": "200"}
    given = {"method": "POST", "route": "/v1/job"}
    assert grown("http", "200", "gw_http_requests_total", labels=labels, **given) == 1
    name = "gw_http_request_duration_seconds_sum"
    assert grown("http", "200", name, 0.25, labels={"route": "/v1/job"}, **given) == 0.25


def test_accepted_and_refused_jobs_are_counted():
    metrics.workflows.learn(TENANT, frozenset({"stems"}))
    accepted, given = {"workflow": "stems"}, {"workflow": "stems", "tenant_id": TENANT}
    assert grown("accept", "accepted", "gw_jobs_accepted_total", labels=accepted, **given) == 1
    refused = {"reason": "QUEUE_FULL"}
    assert grown("accept", "QUEUE_FULL", "gw_jobs_rejected_total", labels=refused) == 1


def test_the_engine_is_counted():
    assert grown("submit", "busy", "gw_upstream_submits_total", labels={"outcome": "busy"}) == 1
    assert grown("submit", "busy", "gw_upstream_submit_duration_seconds_sum", 2.0) == 2
    done = {"outcome": "complete"}
    assert grown("lookup", "complete", "gw_upstream_lookups_total", labels=done) == 1
    assert grown("poll", "ok", "gw_job_polls_total", labels={"result": "ok"}) == 1
    assert grown("poll", "ok", "gw_upstream_poll_calls_total", calls=3) == 3


def test_ends_are_counted_with_their_times():
    metrics.workflows.learn(TENANT, frozenset({"stems"}))
    given: dict[str, object] = {"workflow": "stems", "tenant_id": TENANT}
    given |= {"queue_seconds": 1.0, "upstream_seconds": 2.0}
    labels = {"workflow": "stems", "outcome": "failed"}
    assert grown("job", "failed", "gw_jobs_finished_total", labels=labels, **given) == 1
    assert grown("job", "failed", "gw_job_queue_wait_seconds_sum", **given) == 1
    assert grown("job", "failed", "gw_job_upstream_seconds_sum", **given) == 2
    assert grown("job", "failed", "gw_job_end_to_end_seconds_sum", 9.0, **given) == 9


def test_attempts_are_counted_and_only_deliveries_have_a_whole_time():
    whole = "gw_webhook_end_to_end_seconds_count"
    labels = {"outcome": "retry", "error_class": "http_5xx"}
    given = {"error_class": "http_5xx", "late_seconds": 4.0}
    assert grown("deliver", "retry", "gw_webhook_attempts_total", labels=labels, **given) == 1
    assert grown("deliver", "retry", whole, **given) == 0
    assert grown("deliver", "delivered", whole, late_seconds=4.0, error_class=None) == 1
    seconds = "gw_webhook_attempt_duration_seconds_sum"
    assert grown("deliver", "delivered", seconds, 0.125, late_seconds=4.0) == 0.125


def test_rows_that_the_sweep_finds_are_counted():
    assert grown("sweep", "late", "gw_sweeps_total", labels={"result": "late"}, submit=2) == 1
    rescued = "gw_sweep_rescued_total"
    assert grown("sweep", "late", rescued, labels={"verb": "submit"}, submit=2, poll=0) == 2
    assert grown("sweep", "late", "gw_jobs_expired_total", expired=3) == 3


def test_the_largest_share_of_a_claim_and_a_restored_database_are_counted():
    assert grown("claim", "taken", "gw_claim_largest_share_sum", largest_share=0.25) == 0.25
    assert grown("restore", "behind", "gw_database_restored_total") == 1


def test_rows_of_bulk_operations_are_counted():
    labels = {"kind": "recover"}
    rows = "gw_bulk_rows_total"
    assert grown("bulk", "batch", rows, labels=labels, kind="recover", rows=200) == 200


def test_a_value_that_is_no_number_counts_as_none():
    assert grown("poll", "ok", "gw_upstream_poll_calls_total", calls="many") == 0


def ours() -> list[bytes]:
    """The page without what is of the process, which moves by itself."""
    return [line for line in generate_latest(metrics.REGISTRY).splitlines() if line[:3] == b"gw_"]


def test_work_that_has_no_metrics_is_no_error():
    before = ours()
    metrics.observe("dance", "well", 1.0, {})
    assert ours() == before


def test_callers_texts_are_never_labels():
    """Anybody may read the page, and each of them would be a series."""
    before = value("gw_jobs_accepted_total", workflow="other")
    for number in range(300):
        given = {"workflow": f"secret-{number}", "tenant_id": TENANT}
        metrics.observe("accept", "accepted", 0.0, given)
        metrics.observe("job", "failed", 0.0, given)
    assert b"secret-" not in generate_latest(metrics.REGISTRY)
    assert value("gw_jobs_accepted_total", workflow="other") == before + 300


def test_the_version_is_shown():
    assert value("gw_build_info", version=__version__) == 1
