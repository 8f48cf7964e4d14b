"""Render jobs as JSON or CSV in Postgres, for lists and exports: no object is made for each job.

The JSON of a job has the same bytes as that of core/events.py.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from gateway.core.events import JOB_FORM
from gateway.core.model import STATE_STATUS
from gateway.core.text.csv_injection import FORMULA, HARMLESS
from gateway.core.trace_context import TRACE_ID_LENGTH, TRACE_ID_START
from gateway.store.work.jobs import NEXT_AT


def stamp(column: str) -> str:
    """A time in the format of the API, without quotes."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def _or_null(value: str) -> str:
    return f"COALESCE({value}, 'null')"


def _text(column: str) -> str:
    return f"to_json({column})::text"


def _time(column: str) -> str:
    return _or_null(f"""'"' || {stamp(column)} || '"'""")


_WORDS = " ".join(f"WHEN '{state}' THEN '{status}'" for state, status in STATE_STATUS.items())
_STATUS = f"CASE j.state {_WORDS} END"

# Encloses the id of the tenant and the slug of the workflow as JSON, which the reader replaces by the workflow
# that it shows. JSON contains no control characters such as this one.
MARK: Final = "\x1d"
# Ends a line of JSON. A line break would not do: params are kept as they were sent, so there may be line breaks
# between their tokens.
END: Final = "\x1e"
TENANT_LENGTH: Final = 36
_SQL_MARK = f"chr({ord(MARK)})"
_WORKFLOW = f"{_SQL_MARK} || j.tenant_id || {_text('j.workflow')} || {_SQL_MARK}"

# The values for the placeholders of JOB_FORM, in their order.
_VALUES = (
    *("j.id", _text("t.name"), _text("j.name"), _or_null(_text("j.batch_name")), _WORKFLOW),
    *("j.params", _STATUS, _or_null("j.result::text"), _or_null("j.error::text"), "j.metadata"),
    *(_time("j.created_at"), _time("j.started_at"), _time("j.completed_at")),
    *("t.slug", "j.state", _or_null(_text("j.upstream_id")), "j.submit_attempts"),
    *(_time(NEXT_AT), "'null'", "'null'", "j.version", _or_null("""'"' || j.retry_of || '"'""")),
    _or_null(f"""'"' || substr(j.traceparent, {TRACE_ID_START + 1}, {TRACE_ID_LENGTH}) || '"'"""),
)


def _filled(form: str, values: Iterable[str]) -> str:
    first, *rest = (f"'{one}'" for one in form.split("%s"))
    pairs = zip(values, rest, strict=True)
    return f"concat({', '.join((first, *(part for pair in pairs for part in pair)))})"


def size_of(job: str) -> str:
    """The approximate size of a job in bytes, without reading the values that Postgres stores apart from the row.

    A compressed value counts as 16 times its size.
    """
    return " + ".join(
        f"COALESCE(pg_column_size({job}.{name})"
        f" * CASE WHEN pg_column_compression({job}.{name}) IS NULL THEN 1 ELSE 16 END, 0)"
        for name in ("params", "metadata", "result", "error")
    )


_FORMULA = ", ".join(str(ord(one)) for one in FORMULA)


def _cell(text: str) -> str:
    """A text as a cell of CSV, as web/respond/csv.py writes it, but always in quotes; null for null."""
    guard = f"CASE WHEN ascii({text}) IN ({_FORMULA}) THEN '\"{HARMLESS * 2}' ELSE '\"' END"
    return f"""{guard} || replace({text}, '"', '""') || '"'"""


def _seconds(start: str, end: str) -> str:
    """The duration between two times in seconds, as usage counts it."""
    seconds = f"round(greatest(extract(epoch FROM {end} - {start}), 0), 3)"
    return f"CASE WHEN {end} - {start} IS NOT NULL THEN {seconds} END"


# The columns of the CSV: header and value.
_CELLS = {
    "id": "j.id",
    "tenant": _cell("t.slug"),
    "app": _cell("t.name"),
    "name": _cell("j.name"),
    "batchName": _cell("j.batch_name"),
    "workflow": _cell("j.workflow"),
    "status": _STATUS,
    "state": "j.state",
    "errorCode": _cell("(j.error->>'code')"),
    "errorMessage": _cell("(j.error->>'message')"),
    "createdAt": stamp("j.created_at"),
    "startedAt": stamp("j.started_at"),
    "completedAt": stamp("j.completed_at"),
    "queueWaitSeconds": _seconds("j.created_at", "COALESCE(j.submitted_at, j.completed_at)"),
    "runSeconds": _seconds("j.submitted_at", "j.completed_at"),
    "endToEndSeconds": _seconds("j.created_at", "j.completed_at"),
    "upstreamId": _cell("j.upstream_id"),
    "submitAttempts": "j.submit_attempts",
    "version": "j.version",
    "retryOf": "j.retry_of",
    "workflowParams": _cell("j.params::text"),
    "metadata": _cell("j.metadata::text"),
    "result": _cell("j.result::text"),
    "error": _cell("j.error::text"),
}
HEADER: Final = tuple(_CELLS)
_COMMA = ", ',', "

# What a row of a page shows; the texts of a job are cut, because a hundred of them make a page.
_SUMMARY = f"""json_build_object('id', j.id, 'tenant', t.slug, 'name', left(j.name, 300), 'workflow', left(j.workflow, 300),
  'state', j.state, 'errorCode', left(j.error->>'code', 100), 'errorMessage', left(j.error->>'message', 300),
  'batchName', left(j.batch_name, 300), 'upstreamId', left(j.upstream_id, 300),
  'createdAt', {stamp("j.created_at")}, 'completedAt', {stamp("j.completed_at")}, 'metadata',
  (SELECT json_object_agg(k, left(j.metadata->>k, 300)) FROM unnest(%s) AS k))::text"""

Form = Literal["csv", "json", "ndjson", "summary"]
# The JSON that callers see, except for the workflow.
_JSON = _filled(JOB_FORM, _VALUES)
# One job in each format, with its terminator.
LINES: Final[Mapping[Form, str]] = {
    "csv": f"concat({_COMMA.join(_CELLS.values())}, E'\\r\\n')",
    "json": f"{_JSON} || ','",
    "ndjson": f"{_JSON} || chr({ord(END)})",
    "summary": f"{_SUMMARY % 'ARRAY[]::text[]'} || chr({ord(END)})",
}


def summary_with(keys: str) -> str:
    """A row of a page with some of its metadata; `keys` is SQL of an array of texts."""
    return f"{_SUMMARY % keys} || chr({ord(END)})"
