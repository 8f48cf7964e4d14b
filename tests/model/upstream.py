"""An upstream whose truth is known, and that tells it in many ways."""

import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from gateway.core.upstream_metadata import MARKER
from gateway.ports import (
    Absent,
    Access,
    Refused,
    Submission,
    Submitted,
    Trouble,
    Upload,
    UpstreamJob,
    Workflow,
)
from tests.fakes import FixedClock
from tests.model.answers import (
    DELETES,
    DENIED,
    LONGEST_LAG,
    SUBMITS,
    TROUBLES,
    Site,
    TrueJob,
)
from tests.model.crew import DefectError


class LyingUpstream:
    """Keeps the jobs of all tenants; `at_port` is awaited after each call was carried out."""

    def __init__(self, time: FixedClock, at_port: Callable[[str], Awaitable[None]]) -> None:
        self._time = time
        self._at_port = at_port
        self.jobs: dict[str, TrueJob] = {}
        self.sites: dict[str, Site] = {}  # by key
        self.revoked: set[str] = set()
        self.breaches: list[str] = []
        self.refused: set[str] = set()  # markers
        self.evaded: Counter[str] = Counter()  # by marker: answers that kept a job from us
        self.denied: set[str] = set()  # slugs that were not let in at some time
        # Markers of jobs that the list shows too late for both looks: these may be made twice.
        self.unlisted: set[str] = set()
        self._calls: defaultdict[tuple[str, str], int] = defaultdict(int)

    def marked(self, marker: object) -> list[TrueJob]:
        """All jobs that were made of one of ours."""
        return [job for job in self.jobs.values() if job.marker == str(marker)]

    def move(self, job: TrueJob, status: str) -> None:
        """Change the truth."""
        if not job.is_gone and job.statuses[-1] != status:
            job.statuses.append(status)

    # --- the port --------------------------------------------------------------------------------

    async def submit(self, access: Access, submission: Submission) -> Any:
        site = self._site(access)
        metadata = json.loads(submission.metadata)
        marker = metadata[MARKER]
        if metadata["tenant"] != site.slug:
            self.breaches.append(f"{marker} went upstream with the key of {site.slug}")
        how = self._how("submit", marker, site.submits, access)
        is_taken, answer = SUBMITS[how]
        if is_taken:
            job = self._take(access, site, marker)
            answer = answer or Submitted(job.upstream_id)
        if isinstance(answer, Refused):
            self.refused.add(marker)
        await self._at_port("submit")
        if isinstance(answer, DefectError):
            raise answer
        return answer

    async def status(self, access: Access, upstream_id: str) -> Any:
        answer = self._read(access, upstream_id, is_short=True)
        await self._at_port("status")
        return answer.status if isinstance(answer, UpstreamJob) else answer

    async def fetch(self, access: Access, upstream_id: str) -> Any:
        answer = self._read(access, upstream_id, is_short=False)
        await self._at_port("fetch")
        return answer

    async def page(self, access: Access, *, statuses: Sequence[str], page: int, size: int) -> Any:
        site = self._site(access)
        how = self._how("page", access.key.value, site.lists, access)
        size = min(size, site.page_size)
        start = page * {"overlapping": size - 1, "same": 0}.get(site.pages, size)
        answer = TROUBLES.get(how)
        if answer is None:
            answer = self._listed(access, site, how, statuses)[start : start + size]
        await self._at_port("page")
        return answer

    async def delete(self, access: Access, upstream_id: str) -> Any:
        job = self._visible(access, upstream_id)
        how = self._how("delete", upstream_id, self._site(access).deletes, access)
        is_done, answer = DELETES[how]
        if job is not None and is_done:
            job.is_gone = True
        await self._at_port("delete")
        return Absent() if job is None and answer is None else answer

    async def application(self, access: Access) -> str | Trouble:
        return DENIED if access.key.value in self.revoked else "Application"

    async def workflows(self, access: Access, *, page: int, size: int) -> list[Workflow] | Trouble:
        return []

    async def upload(self, access: Access) -> Upload | Trouble:
        return Upload("https://put", "https://get")

    # --- inside ----------------------------------------------------------------------------------

    def _site(self, access: Access) -> Site:
        return self.sites[access.key.value]

    def _how(self, call: str, subject: str, hows: Sequence[str], access: Access) -> str:
        """How to answer this call, by how often there was such a call before."""
        turn = self._calls[call, subject]
        self._calls[call, subject] += 1
        how = "denied" if access.key.value in self.revoked else hows[turn % len(hows)]
        if how == "denied":
            self.denied.add(self._site(access).slug)
        return how

    def _take(self, access: Access, site: Site, marker: str) -> TrueJob:
        now = self._time.now()
        job = TrueJob(
            f"up-{len(self.jobs) + 1}",
            marker,
            access.key.value,
            created_at=now + timedelta(seconds=site.clock_off),
            listed_at=now + timedelta(seconds=site.list_lag),
        )
        self.jobs[job.upstream_id] = job
        if site.list_lag > LONGEST_LAG:
            self.unlisted.add(marker)
        return job

    def _visible(self, access: Access, upstream_id: str) -> TrueJob | None:
        """A job is seen with the key that made it, and with no other."""
        job = self.jobs.get(upstream_id)
        return job if job and job.key == access.key.value and not job.is_gone else None

    def _read(self, access: Access, upstream_id: str, *, is_short: bool) -> Any:
        job = self._visible(access, upstream_id)
        how = self._how("read", upstream_id, self._site(access).reads, access)
        answer = TROUBLES.get(how) or (job.told(how, is_short=is_short) if job else Absent())
        if job and (isinstance(answer, Absent) or getattr(answer, "unreadable", False)):
            self.evaded[job.marker] += 1
        return answer

    def _listed(
        self, access: Access, site: Site, how: str, statuses: Sequence[str]
    ) -> list[UpstreamJob]:
        now = self._time.now()
        seen = [
            job.told(how)
            for job in self.jobs.values()
            if self._visible(access, job.upstream_id) and job.listed_at <= now
        ]
        shown = [job for job in seen if not statuses or job.status in statuses]
        if how == "missing" and statuses:
            shown = shown[::2]
        if site.pages == "dateless":
            shown = [replace(job, created_at=None) for job in shown]
        return shown[::-1] if site.newest_first else shown
