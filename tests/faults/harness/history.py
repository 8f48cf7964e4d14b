"""Clients that record their calls: each one is ok, failed, or of unknown outcome."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from gateway.flows.accept.batch import key_in_batch
from tests.faults.harness.world import Tenant, World

_PAUSE_SECONDS = 0.2
_LATER = (429, 503)
INPUT = "https://media.test/a.wav"
WORKFLOW = "music-ai/generate-chords"


@dataclass(slots=True)
class Entry:
    """One job as its client sees it; `job_id` is what an answer of 200 promised."""

    tenant: Tenant
    idempotency_key: str
    job_id: UUID | None = None
    deleted: bool = False
    calls: list[str] = field(default_factory=list[str])

    @property
    def given_key(self) -> str:
        """The key that the client gave; of a job of a batch, that of the batch."""
        return self.idempotency_key.partition("\x1f")[0]


@dataclass(slots=True)
class History:
    """All that the clients of one world did."""

    world: World
    entries: list[Entry] = field(default_factory=list[Entry])
    surprises: list[str] = field(default_factory=list[str])
    # Tenants that had jobs run again by a bulk operation.
    retrying: set[str] = field(default_factory=set[str])

    @property
    def calls(self) -> dict[str, int]:
        """How many calls ended in which way."""
        made = [call for entry in self.entries for call in entry.calls]
        return {kind: made.count(kind) for kind in ("ok", "failed", "unknown")}

    async def submit(self, tenant: Tenant, *, key: str = "", **changes: Any) -> Entry:
        """Submit a job, again and again until it is accepted; always with an idempotency key."""
        entry = Entry(tenant, key or f"k{len(self.entries)}")
        self.entries.append(entry)
        body = job(**changes)
        while entry.job_id is None:
            answer = await self._call(entry, "POST", "/v1/job", body)
            if answer is not None:
                entry.job_id = UUID(answer["id"])
            else:
                await asyncio.sleep(_PAUSE_SECONDS)
        return entry

    async def submit_batch(self, tenant: Tenant, count: int, **changes: Any) -> list[Entry]:
        """Submit a batch of jobs, again and again until it is accepted."""
        request = Entry(tenant, f"b{len(self.entries)}")
        keys = [key_in_batch(request.idempotency_key, place) for place in range(count)]
        made = [Entry(tenant, key) for key in keys]
        self.entries += made
        body = {"name": request.idempotency_key, "jobs": [job(**changes)] * count}
        while made[0].job_id is None:
            answer = await self._call(request, "POST", "/v1/batch", body)
            if answer is None:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            for entry, job_id in zip(made, answer["ids"], strict=True):
                entry.job_id = UUID(job_id)
        return made

    async def delete(self, entry: Entry) -> None:
        """Delete a job, again and again until that is known to be done."""
        path = f"/v1/job/{entry.job_id}"
        entry.deleted = True
        while True:
            answer = await self._call(entry, "DELETE", path, None, also=404)
            if answer is not None:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def read(self, entry: Entry) -> Any:
        """The job as the API shows it, or None when it could not be asked."""
        return await self._call(entry, "GET", f"/v1/job/{entry.job_id}", None)

    async def _call(
        self, entry: Entry, method: str, path: str, body: object, also: int = 200
    ) -> Any:
        try:
            answer = await self.world.ask(
                method, path, entry.tenant.key, body, idempotency_key=entry.given_key
            )
        except httpx.ConnectError:
            entry.calls.append("failed")
            return None
        except httpx.HTTPError:
            entry.calls.append("unknown")
            return None
        if answer.status_code >= 500 or answer.status_code in _LATER:
            entry.calls.append("failed")
            is_clean = answer.status_code in _LATER and "retry-after" in answer.headers
            if not is_clean:
                self.surprises.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return None
        assert answer.status_code in (200, also), f"{answer.status_code}: {answer.text}"
        entry.calls.append("ok")
        return answer.json()


def job(*, run: float = 0.3, workflow: str = WORKFLOW, **rest: Any) -> dict[str, Any]:
    """The body of a job that runs for so many seconds."""
    plan = {"queueSeconds": 0, "runSeconds": run, **rest.pop("plan", {})}
    params = {"inputUrl": INPUT, "simulate": plan}
    return {"name": "n", "workflow": workflow, "params": params, **rest}
