import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import (
    EVENT_TYPES,
    JOB_DELETED,
    JOB_FAILED,
    JOB_STARTED,
    JOB_SUCCEEDED,
    MAX_BODY_BYTES,
    TERMINAL_EVENTS,
    event_body,
    instant,
    job_event,
    job_event_id,
    job_event_type,
    job_json,
)
from gateway.core.lifecycle import error_of
from gateway.core.model import STATE_STATUS, TERMINAL, JobState
from gateway.core.waits_for import Wait, WaitCode
from tests.builders import TRACEPARENT, job_of

AT = datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC)
SHOWN_AT = "2026-01-02T03:04:05.678Z"
KEYS = [
    "id",
    "app",
    "name",
    "batchName",
    "workflow",
    "workflowParams",
    "status",
    "result",
    "error",
    "metadata",
    "createdAt",
    "startedAt",
    "completedAt",
    "gateway",
]
GATEWAY_KEYS = [
    "tenant",
    "state",
    "upstreamId",
    "submitAttempts",
    "nextAttemptAt",
    "queuePosition",
    "waitsFor",
    "version",
    "retryOf",
    "traceId",
]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, "null"),
        (AT, f'"{SHOWN_AT}"'),
        (AT.astimezone(timezone(timedelta(hours=5, minutes=30))), f'"{SHOWN_AT}"'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00.000Z"'),
        (datetime(1, 1, 1, tzinfo=UTC), '"0001-01-01T00:00:00.000Z"'),
    ],
)
def test_a_time_has_milliseconds_and_z(at: datetime | None, text: str) -> None:
    assert instant(at) == text


def test_a_job_holds_every_key_in_order() -> None:
    job = job_of(
        state=JobState.SUCCEEDED,
        result='{"a":1.10}',
        started_at=AT,
        completed_at=AT,
        upstream_id="u-1",
        retry_of=UUID(int=9),
        traceparent=TRACEPARENT,
        batch_name="b",
        next_at=AT,
    )
    shown = json.loads(job_json(job))
    assert list(shown) == KEYS
    assert list(shown["gateway"]) == GATEWAY_KEYS
    assert shown == {
        "id": str(job.id),
        "app": "Acme",
        "name": "name",
        "batchName": "b",
        "workflow": "flow",
        "workflowParams": {},
        "status": "SUCCEEDED",
        "result": {"a": 1.1},
        "error": None,
        "metadata": {},
        "createdAt": "2026-01-02T03:04:05.000Z",
        "startedAt": SHOWN_AT,
        "completedAt": SHOWN_AT,
        "gateway": {
            "tenant": "acme",
            "state": "succeeded",
            "upstreamId": "u-1",
            "submitAttempts": 0,
            "nextAttemptAt": None,
            "queuePosition": None,
            "waitsFor": None,
            "version": 1,
            "retryOf": str(UUID(int=9)),
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        },
    }


def test_stored_json_goes_in_as_it_is() -> None:
    job = job_of(params='{ "n": 1.10 }', metadata='{"big": 123456789012345678901}', error='{"c":1}')
    text = job_json(job)
    assert '"workflowParams":{ "n": 1.10 }' in text
    assert '"metadata":{"big": 123456789012345678901}' in text
    assert '"error":{"c":1}' in text


@given(st.text(), st.text(), st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_text_makes_sound_json(
    app: str, name: str, workflow: str, batch: str | None, upstream_id: str | None
) -> None:
    job = job_of(app=app, name=name, workflow=workflow, batch_name=batch, upstream_id=upstream_id)
    text = job_json(job)
    shown = json.loads(text)
    assert list(shown) == KEYS
    assert (shown["app"], shown["name"], shown["workflow"]) == (app, name, workflow)
    assert (shown["batchName"], shown["gateway"]["upstreamId"]) == (batch, upstream_id)
    assert min(text) >= " "  # no control character is left as it is


@pytest.mark.parametrize("state", JobState)
def test_a_job_shows_its_status_and_its_state(state: JobState) -> None:
    shown = json.loads(job_json(job_of(state=state, next_at=AT)))
    assert shown["status"] == STATE_STATUS[state]
    assert shown["gateway"]["state"] == state.value
    assert shown["gateway"]["nextAttemptAt"] == (None if state in TERMINAL else SHOWN_AT)


def test_what_a_job_waits_for_may_be_given() -> None:
    wait = Wait(WaitCode.CREDENTIAL_REJECTED, 'the "key" was\nrevoked', AT)
    assert json.loads(job_json(job_of(), waits_for=wait))["gateway"]["waitsFor"] == {
        "code": "CREDENTIAL_REJECTED",
        "message": 'the "key" was\nrevoked',
        "until": SHOWN_AT,
        "position": None,
    }
    wait = Wait(WaitCode.TURN, "its turn", position=3)
    shown = json.loads(job_json(job_of(), waits_for=wait))["gateway"]["waitsFor"]
    assert (shown["until"], shown["position"]) == (None, 3)


def test_a_workflow_and_a_place_in_the_queue_may_be_given() -> None:
    shown = json.loads(job_json(job_of(), workflow='{"slug":"flow"}', queue_position=0))
    assert shown["workflow"] == {"slug": "flow"}
    assert shown["gateway"]["queuePosition"] == 0


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (JobState.SUCCEEDED, JOB_SUCCEEDED),
        (JobState.FAILED, JOB_FAILED),
        (JobState.CANCELLED, JOB_FAILED),
        (JobState.EXPIRED, JOB_FAILED),
    ],
)
def test_the_event_of_an_end(state: JobState, kind: str) -> None:
    assert job_event_type(state) == kind


def test_the_types_of_events() -> None:
    assert len(set(EVENT_TYPES)) == len(EVENT_TYPES) == 7
    assert {JOB_SUCCEEDED, JOB_FAILED, JOB_DELETED} == TERMINAL_EVENTS < set(EVENT_TYPES)


def test_the_body_of_an_event() -> None:
    assert event_body("test.ping", '{"a":1}', AT) == (
        f'{{"type":"test.ping","timestamp":"{SHOWN_AT}","data":{{"a":1}}}}'
    )


def body_of(*, result: str | None = None, params: str = "{}") -> Mapping[str, object]:
    job = job_of(state=JobState.SUCCEEDED, result=result, params=params)
    body = job_event(JOB_SUCCEEDED, job, AT)
    assert len(body.encode()) <= MAX_BODY_BYTES
    event = json.loads(body)
    assert list(event) == ["type", "timestamp", "data"]
    assert (event["type"], event["timestamp"]) == (JOB_SUCCEEDED, SHOWN_AT)
    return event["data"]


def test_an_event_about_a_job_holds_the_job() -> None:
    job = job_of(state=JobState.RUNNING)
    event = json.loads(job_event(JOB_STARTED, job, AT))
    assert event == {"type": JOB_STARTED, "timestamp": SHOWN_AT, "data": json.loads(job_json(job))}


def test_a_large_result_is_left_out() -> None:
    data = body_of(result=json.dumps("x" * 20_000), params='{"p":1}')
    assert list(data) == [*KEYS, "truncated"]
    assert data["truncated"] is True
    assert (data["result"], data["workflowParams"]) == (None, {"p": 1})


def test_large_params_are_left_out_as_well() -> None:
    data = body_of(result='"r"', params=json.dumps(["x" * 20_000]))
    assert list(data) == [*KEYS, "truncated"]
    assert (data["result"], data["workflowParams"], data["truncated"]) == (None, None, True)


@pytest.mark.parametrize("filler", ["x", "é", "😀"])
def test_twenty_kilobytes_are_not_too_many_and_one_byte_more_is(filler: str) -> None:
    job = job_of(state=JobState.SUCCEEDED, result='""')
    room = MAX_BODY_BYTES - len(job_event(JOB_SUCCEEDED, job, AT).encode())
    count, rest = divmod(room, len(filler.encode()))
    full = filler * count + "y" * rest
    whole = body_of(result=f'"{full}"')
    assert whole["result"] == full
    assert "truncated" not in whole
    assert body_of(result=f'"{full}y"')["truncated"] is True


def test_metadata_goes_last() -> None:
    job = job_of(
        state=JobState.FAILED,
        error=json.dumps({"code": "X", "message": "m" * 10_000}),
        metadata=json.dumps({"m": "m" * 10_000}),
        params="[1]",
        result="[2]",
    )
    data = json.loads(job_event(JOB_FAILED, job, AT))["data"]
    assert data["error"] == {"code": "X", "message": "m" * 300}
    assert data["metadata"] == json.loads(job.metadata)
    assert (data["result"], data["workflowParams"], data["truncated"]) == (None, None, True)


@pytest.mark.parametrize("filler", ["x", "\x01", "😀", "é"])
def test_no_body_is_longer_whatever_is_in_it(filler: str) -> None:
    """Each text as long as it may be, metadata as long as it could be before it was measured."""
    job = job_of(
        state=JobState.FAILED,
        app=filler * 200,
        name=filler * 512,
        batch_name=filler * 256,
        workflow=filler * 256,
        error=error_of("C" * 100, filler * 2000, filler * 2000).json(),
        metadata=json.dumps({"m": "m" * 200_000}),
        params=json.dumps({"p": "p" * 1_000_000}),
        result=json.dumps("r" * 1_000_000),
        upstream_id="u" * 200,
    )
    body = job_event(JOB_FAILED, job, AT)
    data = json.loads(body)["data"]
    assert len(body.encode()) <= MAX_BODY_BYTES
    assert list(data) == [*KEYS, "truncated"]
    assert (data["name"], data["metadata"]) == (job.name, {})
    assert data["error"]["message"] == filler * 300
    without = json.loads(job_event(JOB_FAILED, job_of(metadata=job.metadata), AT))["data"]
    assert (without["metadata"], without["error"]) == ({}, None)


# --- Ids ----------------------------------------------------------------------------------------


@given(st.uuids(), st.sampled_from(EVENT_TYPES))
def test_the_id_of_an_event_follows_from_its_job_and_begins_with_its_time(
    job_id: UUID, kind: str
) -> None:
    made = job_event_id(kind, job_id)
    assert made == job_event_id(kind, job_id)
    assert made.bytes[:6] == job_id.bytes[:6]
    assert (made.version, made.variant) == (8, RFC_4122)


@given(st.sets(st.uuids(), min_size=2, max_size=5))
def test_no_two_events_have_one_id(job_ids: set[UUID]) -> None:
    made = {job_event_id(kind, job_id) for kind in EVENT_TYPES for job_id in job_ids}
    assert len(made) == len(EVENT_TYPES) * len(job_ids)


def test_the_id_of_an_event_is_the_same_in_every_version_of_the_gateway() -> None:
    """Receivers that saw it before a backup was restored must know it again."""
    job_id = UUID("01934f2c-7a3b-7c4d-8e5f-0123456789ab")
    assert str(job_event_id(JOB_SUCCEEDED, job_id)) == "01934f2c-7a3b-84aa-bd61-c1cd50825b96"
