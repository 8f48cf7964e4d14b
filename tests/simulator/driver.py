"""Short words for what the tests of the simulator do over HTTP."""

from typing import Any

import httpx

KEY = "sim-acme"
STEMS = "music-ai/stems-vocals-accompaniment"
CHORDS = "music-ai/generate-chords"
AT_ONCE: dict[str, Any] = {"queueSeconds": 0, "runSeconds": 0}


class Driver:
    """Calls the API under `/v1` and the control routes of one simulator."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def call(
        self, method: str, path: str, *, key: str = KEY, prefix: str = "/v1", **options: Any
    ) -> httpx.Response:
        headers = {"Authorization": key}
        return await self.http.request(method, f"{prefix}{path}", headers=headers, **options)

    async def submit(
        self,
        *,
        key: str = KEY,
        workflow: str = STEMS,
        params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        **script: Any,
    ) -> str:
        """The new job's id; `script` becomes `params.simulate`."""
        sent = {
            "name": "song",
            "workflow": workflow,
            "params": (params or {}) | {"simulate": script},
        }
        answer = await self.call("POST", "/job", key=key, json=sent | (body or {}))
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    async def job(self, job_id: str, *, key: str = KEY, prefix: str = "/v1") -> dict[str, Any]:
        answer = await self.call("GET", f"/job/{job_id}", key=key, prefix=prefix)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def status(self, job_id: str) -> str:
        return (await self.call("GET", f"/job/{job_id}/status")).json()["status"]

    async def listed(self, query: str = "", *, key: str = KEY) -> list[dict[str, Any]]:
        answer = await self.call("GET", f"/job?{query}", key=key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ids(self, query: str = "") -> list[str]:
        return [job["id"] for job in await self.listed(query)]

    async def control(self, path: str = "", body: Any = None) -> Any:
        """POST with a body, GET without."""
        url = f"/_control{path}"
        answer = await (self.http.get(url) if body is None else self.http.post(url, json=body))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def fault(self, action: dict[str, Any] | str, **more: Any) -> Any:
        wanted = {"type": action} if isinstance(action, str) else action
        return await self.control("/faults", {"action": wanted, **more})

    async def defaults(self, **defaults: Any) -> None:
        await self.control("", {"defaults": defaults})

    async def hold_clock(self) -> None:
        await self.control("/clock", {"frozen": True})

    async def advance(self, seconds: float) -> None:
        await self.control("/clock", {"advanceSeconds": seconds})
