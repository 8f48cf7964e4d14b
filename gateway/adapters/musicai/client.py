"""The upstream's job API over HTTP: implements the ports Upstream and Catalogue.

Submit, poll and the API's passthrough routes call it. It promises that no call raises for what the
upstream or the network does: every result is a value. A submit is sent at most once. Busy, Refused
and Denied say that no job was created; Unknown leaves it open, and the engine then reconciles. It keeps no
state but connections, so a crash leaves at most one call whose outcome is unknown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from gateway.adapters.musicai.codec import (
    has_reason,
    read_id,
    read_job,
    read_page,
    read_problem,
    read_text,
    read_upload,
    read_workflows,
    submission_body,
)
from gateway.adapters.musicai.http import CallListener, UpstreamAnswer, UpstreamCall, UpstreamHttp
from gateway.core.schedule.retry_after import parse_retry_after
from gateway.ports import (
    Absent,
    Access,
    Busy,
    Clock,
    Denied,
    Refused,
    Submission,
    Submitted,
    Trouble,
    Unknown,
    Upload,
    UpstreamJob,
    Workflow,
)

_T = TypeVar("_T")

_MAX_ANSWER = 8 * 2**20
_MAX_PAGE = 32 * 2**20
_OK = range(200, 300)
_REDIRECTED = range(300, 400)
_DENIED = frozenset({401, 402, 403})
_ABSENT = 404
_LIMITED = 429
_MAX_LOCATION = 200
# These statuses say that the request itself is wrong, so a retry is useless.
_REFUSED = frozenset(range(400, 500)) - _DENIED - {408, _LIMITED}


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Longest duration of one call in seconds, by the kind of caller."""

    submit: float = 10.0
    poll: float = 10.0
    interactive: float = 10.0
    connect: float = 5.0


class MusicAi:
    """Calls the upstream over one connection pool; key and base URL come with each call.

    `rate` limits the calls per second of one credential; 0 means no limit. The listener is told of each call.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        user_agent: str,
        deadlines: Deadlines | None = None,
        connections: int = 500,
        connections_per_host: int = 0,
        rate: float = 0.0,
        listener: CallListener = lambda _outcome, _seconds: None,
    ) -> None:
        self._clock = clock
        self._deadlines = deadlines or Deadlines()
        self._http = UpstreamHttp(
            clock,
            user_agent=user_agent,
            connections=connections,
            connections_per_host=connections_per_host,
            connect_seconds=self._deadlines.connect,
            rate=rate,
            listener=listener,
        )

    async def submit(self, access: Access, submission: Submission) -> Submitted | Refused | Trouble:
        """Create a job; sent at most once. Only Unknown leaves open whether a job was created."""
        seconds, body = self._deadlines.submit, submission_body(submission)
        call = UpstreamCall("POST", "/job", seconds, _MAX_ANSWER, body, submission.traceparent)
        answer = await self._http.send(access, call)
        if not isinstance(answer, UpstreamAnswer):
            return answer
        if answer.status == _ABSENT and not has_reason(answer.body):
            # Without a reason the 404 is not about a workflow: some other server lacks the path.
            return Busy("answer 404 without a reason: the base URL is probably wrong")
        if answer.status in _REFUSED:
            problem = read_problem(answer.status, answer.body, access.key.value)
            return Refused(answer.status, problem)
        return _not_absent(self._value_or_trouble(access, answer, _submitted))

    async def fetch(self, access: Access, upstream_id: str) -> UpstreamJob | Absent | Trouble:
        """Read one job."""
        call = UpstreamCall("GET", f"/job/{upstream_id}", self._deadlines.poll, _MAX_ANSWER)
        return await self._read(access, call, read_job)

    async def status(self, access: Access, upstream_id: str) -> str | Absent | Trouble:
        """Read the status of one job, in the upstream's words."""
        call = UpstreamCall("GET", f"/job/{upstream_id}/status", self._deadlines.poll, _MAX_ANSWER)
        return await self._read(access, call, lambda body: read_text(body, "status"))

    async def page(
        self, access: Access, *, statuses: Sequence[str], page: int, size: int
    ) -> list[UpstreamJob] | Trouble:
        """Read one page of jobs, counted from 0; the upstream does not document the order."""
        query = urlencode([("page", page), ("size", size), *(("status", s) for s in statuses)])
        call = UpstreamCall("GET", f"/job?{query}", self._deadlines.poll, _MAX_PAGE)
        return _not_absent(await self._read(access, call, read_page))

    async def delete(self, access: Access, upstream_id: str) -> Absent | Trouble | None:
        """Delete one job; None means that the upstream confirmed it."""
        call = UpstreamCall(
            "DELETE", f"/job/{upstream_id}", self._deadlines.interactive, _MAX_ANSWER
        )
        answer = await self._http.send(access, call)
        if not isinstance(answer, UpstreamAnswer):
            return answer
        return None if answer.status in _OK else self._trouble(access, answer)

    async def application(self, access: Access) -> str | Trouble:
        """Read the name of the application that the key belongs to."""
        call = UpstreamCall("GET", "/application", self._deadlines.interactive, _MAX_ANSWER)
        return _not_absent(await self._read(access, call, lambda body: read_text(body, "name")))

    async def workflows(self, access: Access, *, page: int, size: int) -> list[Workflow] | Trouble:
        """Read one page of workflows, counted from 0."""
        path = f"/workflow?page={page}&size={size}"
        call = UpstreamCall("GET", path, self._deadlines.interactive, _MAX_PAGE)
        return _not_absent(await self._read(access, call, read_workflows))

    async def upload(self, access: Access) -> Upload | Trouble:
        """Ask for the signed URLs of a new file."""
        call = UpstreamCall("GET", "/upload", self._deadlines.interactive, _MAX_ANSWER)
        return _not_absent(await self._read(access, call, read_upload))

    async def close(self) -> None:
        """Close every connection; no call may follow."""
        await self._http.close()

    async def _read(
        self, access: Access, call: UpstreamCall, read: Callable[[bytes], _T | None]
    ) -> _T | Absent | Trouble:
        answer = await self._http.send(access, call)
        return (
            self._value_or_trouble(access, answer, read)
            if isinstance(answer, UpstreamAnswer)
            else answer
        )

    def _value_or_trouble(
        self, access: Access, answer: UpstreamAnswer, read: Callable[[bytes], _T | None]
    ) -> _T | Absent | Trouble:
        if answer.status not in _OK:
            return self._trouble(access, answer)
        if answer.flaw:
            return Unknown(answer.flaw, unreadable=True)
        value = read(answer.body)
        if value is None:
            return Unknown(f"answer {answer.status} with an unusable body", unreadable=True)
        return value

    def _trouble(self, access: Access, answer: UpstreamAnswer) -> Absent | Trouble:
        status = answer.status
        wait = parse_retry_after(answer.headers.get("retry-after"), self._clock.now())
        if status == _ABSENT:
            return Absent()
        if status in _DENIED:
            return Denied(status, read_problem(status, answer.body, access.key.value))
        if status == _LIMITED:
            return Busy("the upstream limits the rate of requests (429)", wait, limited=True)
        if status in _REDIRECTED:
            target = answer.headers.get("location", "nowhere")[:_MAX_LOCATION]
            return Busy(f"answer {status} redirects to {target}: the base URL is probably wrong")
        return Unknown(f"answer {status}", wait)


def _submitted(body: bytes) -> Submitted | None:
    upstream_id = read_id(body)
    return None if upstream_id is None else Submitted(upstream_id)


def _not_absent(outcome: _T | Absent) -> _T | Unknown:
    # Only a call that names a job can get the answer that it does not exist.
    if isinstance(outcome, Absent):
        return Unknown("answer 404: the base URL is probably wrong")
    return outcome
