"""Errors of requests: in plain English, with the place, and all at once."""

import json
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.web.parse.json_body import read_body
from gateway.web.parse.query_string import read_query
from gateway.web.schemas.requests import (
    AuditQuery,
    BatchIn,
    JobIn,
    JobQuery,
    JobsBulkIn,
    JobsQuery,
    KeyIn,
    TenantIn,
    TenantsQuery,
)
from gateway.web.schemas.webhook_requests import (
    DeliveriesQuery,
    EndpointChange,
    EndpointIn,
    SinceIn,
)

_JOB: dict[str, Any] = {"name": "n", "workflow": "w", "params": {}}
_TIME = "must be a time such as 2026-11-30T00:00:00Z or a date such as 2026-11-30"
_STATUSES = "QUEUED, STARTED, SUCCEEDED, FAILED"


def told(kind: Any, body: object) -> dict[str, str]:
    """The reasons of the error for a body, by field."""
    with pytest.raises(BadRequest) as refused:
        read_body(kind, json.dumps(body).encode())
    return {one.field: one.reason for one in refused.value.errors}


def asked(kind: Any, query: str) -> dict[str, str]:
    """The reasons of the error for a query string, by parameter."""
    with pytest.raises(BadRequest) as refused:
        read_query(kind, query.encode())
    return {one.field: one.reason for one in refused.value.errors}


@pytest.mark.parametrize(
    ("kind", "body", "reasons"),
    [
        (JobIn, _JOB | {"name": 1}, {"name": "must be text, not a number"}),
        (JobIn, _JOB | {"name": None}, {"name": "must be text, not null"}),
        (JobIn, _JOB | {"name": ""}, {"name": "must not be empty"}),
        (
            JobIn,
            _JOB | {"name": "x" * 513},
            {"name": "must have at most 512 characters; it has 513"},
        ),
        (
            JobIn,
            _JOB | {"params": [1], "name": ""},
            {"name": "must not be empty", "params": "must be an object, not a list"},
        ),
        (JobIn, _JOB | {"priority": 10}, {"priority": "must be at most 9, not 10"}),
        (JobIn, _JOB | {"priority": -1}, {"priority": "must be at least 0, not -1"}),
        (JobIn, _JOB | {"priority": "5"}, {"priority": "must be a whole number, not '5'"}),
        (JobIn, _JOB | {"priority": 1.5}, {"priority": "must be a whole number, not 1.5"}),
        (JobIn, _JOB | {"priority": True}, {"priority": "must be a whole number, not true"}),
        (
            JobIn,
            _JOB | {"deadline": "soon"},
            {"deadline": "must be a duration such as PT1H or a number, not 'soon'"},
        ),
        (JobIn, _JOB | {"nme": 1}, {"nme": "is not known; did you mean 'name'?"}),
        (
            JobIn,
            _JOB | {"callback_url": 1},
            {"callback_url": "is not known; did you mean 'callbackUrl'?"},
        ),
        (JobIn, {}, dict.fromkeys(("name", "workflow", "params"), "is required")),
        (EndpointIn, {"url": "u", "events": "job.failed"}, {"events": "must be a list, not text"}),
        (
            EndpointIn,
            {"url": "u", "headers": {"a": 1}},
            {"headers.a": "must be text, not a number"},
        ),
        (EndpointIn, {"url": "u", "secret": 5}, {"secret": "must be text, not a number"}),
        (
            EndpointIn,
            {"url": "u", "algorithm": "v2"},
            {"algorithm": "must be one of v1, v1a, not 'v2'"},
        ),
        (EndpointIn, {"url": "u", "schedule": [0]}, {"schedule[0]": "must be at least 1, not 0"}),
        (SinceIn, {"since": "yesterday"}, {"since": f"{_TIME}, not 'yesterday'"}),
        (SinceIn, {"since": 1_700_000_000}, {"since": f"{_TIME}, not 1700000000"}),
        (
            SinceIn,
            {"since": "2026-02-30"},
            {"since": f"is not a possible date or time; it {_TIME}"},
        ),
        (
            SinceIn,
            {"since": "2026-01-01", "dryRun": "yes"},
            {"dryRun": "must be true or false, not 'yes'"},
        ),
        (
            JobsBulkIn,
            {"filter": {"status": ["DONE"]}},
            {"filter.status[0]": f"must be one of {_STATUSES}, not 'DONE'"},
        ),
        (
            TenantIn,
            {"slug": "Acme!", "name": "Acme"},
            {"slug": "must be 1 to 63 of a-z, 0-9 and -, and not begin with -"},
        ),
        (
            KeyIn,
            {"kind": "robot", "name": "n"},
            {"kind": "must be one of operator, service, not 'robot'"},
        ),
    ],
)
def test_bodies(kind: Any, body: object, reasons: dict[str, str]) -> None:
    assert told(kind, body) == reasons


@pytest.mark.parametrize(
    ("kind", "query", "reasons"),
    [
        (JobsQuery, "size=0", {"size": "must be at least 1, not 0"}),
        (JobsQuery, "size=1001", {"size": "must be at most 1000, not 1001"}),
        (JobsQuery, "size=many", {"size": "must be a whole number, not 'many'"}),
        (JobsQuery, "size=", {"size": "must be a whole number, not ''"}),
        (JobQuery, "wait=61", {"wait": "must be at most 60, not 61"}),
        (JobQuery, "wait=now", {"wait": "must be a number, not 'now'"}),
        (JobsQuery, "status=done", {"status": f"must be one of {_STATUSES}, not 'done'"}),
        (JobsQuery, "Size=5", {"Size": "is not known; did you mean 'size'?"}),
        (
            JobsQuery,
            "created_after=2026-01-01",
            {"created_after": "is not known; did you mean 'createdAfter'?"},
        ),
        (JobsQuery, "createdAfter=2026", {"createdAfter": f"{_TIME}, not '2026'"}),
        (
            JobsQuery,
            "createdAfter=2026-01-01T00:00:00+02:00",
            {"createdAfter": "has a space in front of the offset; in a URL, write + as %2B"},
        ),
        (JobsQuery, "metadata=x", {"metadata": "needs a key, as in metadata.<key>=<value>"}),
        (JobsQuery, "page=1&page=2", {"page": "is given more than once"}),
        (TenantsQuery, "limit=1&size=2", {"size": "is given more than once, under two names"}),
        (TenantsQuery, "limit=0", {"limit": "must be at least 1, not 0"}),
        (
            DeliveriesQuery,
            "endpoint=nope",
            {"endpoint": "must be an id such as 0193782e-7c00-7000-8000-000000000000, not 'nope'"},
        ),
        (
            DeliveriesQuery,
            "event=job.done",
            {
                "event": "must be one of job.started, job.succeeded, "
                "job.failed, job.deleted, endpoint.disabled, credential.rejected, test.ping, not 'job.done'"
            },
        ),
    ],
)
def test_queries(kind: Any, query: str, reasons: dict[str, str]) -> None:
    assert asked(kind, query) == reasons


def test_no_message_uses_a_python_word() -> None:
    bodies: list[tuple[Any, object]] = [
        (JobIn, _JOB | {name: value})
        for name in ("name", "params", "priority", "deadline", "metadata", "copyResultsTo")
        for value in (None, True, [], [{}], 10**30, "x" * 5000, {"a": {}})
    ]
    details = [_detail(kind, body) for kind, body in bodies]

    assert len(list(filter(None, details))) > 10
    for word in ("str`", "int`", "xpected", "object`", "Invalid"):
        assert [one for one in details if word in one] == []


def _detail(kind: Any, body: object) -> str:
    try:
        read_body(kind, json.dumps(body).encode())
    except BadRequest as refused:
        return refused.detail
    return ""


def test_every_wrong_job_of_a_batch_is_named() -> None:
    jobs = [{}, {"name": 4, "workflow": "w", "params": {}}, 5, _JOB | {"priority": 11}]

    assert list(told(BatchIn, {"name": "b", "jobs": jobs})) == [
        *("jobs[0].name", "jobs[0].workflow", "jobs[0].params", "jobs[1].name"),
        *("jobs[2]", "jobs[3].priority"),
    ]


def test_faults_beyond_the_limit_are_counted() -> None:
    with pytest.raises(BadRequest) as refused:
        read_body(BatchIn, json.dumps({"name": "b", "jobs": [{}] * 1000}).encode())

    assert len(refused.value.errors) == 100
    assert refused.value.detail.endswith("; and 2980 more")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "The body is empty; it must be a JSON object."),
        (b"[]", "The body must be a JSON object."),
        (b'{"a":1,}', "line 1, column 8: there is a comma in front of }."),
        (b"{'a':1}", "line 1, column 2: strings are in double quotes, not in single ones."),
        (b'{"a":\n  True}', "line 2, column 3: write true in lower case."),
        (b'{"a":\n\n  x}', "line 3, column 3: this is not the start of a JSON value."),
        (b'{"a" 1}', "line 1, column 6: a colon is missing after the name of a field."),
        (b'{"a":1 "b":2}', "line 1, column 8: a comma or the closing } is missing."),
        (b'{"a":NaN}', "line 1, column 6: NaN is not a number in JSON."),
        (b"{a:1}", "line 1, column 2: the name of a field must be in double quotes."),
        (b'{"a":1', "The body is not valid JSON: it ends too early."),
        (b"{} {}", "line 1, column 5: there is more text after the end of the JSON value."),
        (b'{"a":"\n"}', "line 1, column 7: a control character, such as a line break, must be"),
        (b'{"a":"\\ud800"}', "a \\u escape is one half of a pair without the other."),
        (b'\xef\xbb\xbf{"a":1}', "The body must be UTF-8 without a byte order mark"),
        (b'{"name":"\xff"}', "The body is not valid UTF-8."),
    ],
)
def test_broken_json(raw: bytes, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_body(EndpointChange, raw)

    assert said in refused.value.detail


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-30", "2026-11-30T00:00:00+00:00"),
        ("2026-11-30T10:00Z", "2026-11-30T10:00:00+00:00"),
        ("2026-11-30T10:00:00", "2026-11-30T10:00:00+00:00"),
        ("2026-11-30 10:00:00.5%2B02:00", "2026-11-30T08:00:00.500000+00:00"),
        ("2026-11-30t23:00:00-0230", "2026-12-01T01:30:00+00:00"),
    ],
)
def test_times_and_dates(text: str, at: str) -> None:
    query = read_query(JobsQuery, f"createdAfter={text}".encode())
    assert query.created_after is not None
    assert query.created_after.isoformat() == at

    body = read_body(SinceIn, json.dumps({"since": text.replace("%2B", "+")}).encode())
    assert body.since.isoformat() == at


def test_lists_of_operators_take_both_names_for_paging() -> None:
    for kind in (TenantsQuery, AuditQuery):
        one, other = (read_query(kind, query) for query in (b"size=5&cursor=a", b"limit=5&after=a"))
        assert one == other
        assert (one.size, one.cursor) == (5, "a")


@pytest.mark.parametrize("word", ["FAILED", "failed", "Failed"])
def test_words_may_be_upper_or_lower_case(word: str) -> None:
    assert read_query(JobsQuery, f"status={word}".encode()).status == ["FAILED"]
    body = read_body(JobsBulkIn, json.dumps({"filter": {"status": [word]}}).encode())
    assert body.filter.status == ["FAILED"]
