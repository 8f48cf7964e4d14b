"""Reads submissions and page parameters, and refuses invalid ones."""

import msgspec

from gateway.simulator.http.messages import Request, refuse
from gateway.simulator.state import NewSubmission, State

DEFAULT_SIZE = 100
MOST_DIGITS = 9

_decode = msgspec.json.Decoder(NewSubmission).decode


def read_submission(body: bytes) -> NewSubmission:
    try:
        submission = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refuse(400, str(error)) from error
    if bytes(submission.params)[:1] != b"{":
        raise refuse(400, "params must be an object.")
    if bytes(submission.metadata)[:1] not in {b"{", b"n"}:
        raise refuse(400, "metadata must be an object.")
    return submission


def read_span(query: dict[str, list[str]], most: int | None) -> tuple[int, int]:
    number, size = _number(query, "page", 0, 0), _number(query, "size", DEFAULT_SIZE, 1)
    if most is not None:
        size = min(size, most)
    return number * size, (number + 1) * size


def _number(query: dict[str, list[str]], name: str, default: int, least: int) -> int:
    values = query.get(name)
    if values is None:
        return default
    text = values[-1]
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < least:
        raise refuse(400, f"{name} must be an integer of at least {least}.")
    return int(text)


def workflow_named(state: State, request: Request, target: str) -> str:
    """Return the workflow that faults are matched with: of the job in the path, or in the body."""
    job = state.jobs.by_id.get(target)
    if job is not None:
        return job.workflow.slug
    if request.method != "POST":
        return ""
    try:
        return _decode(request.body).workflow
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
