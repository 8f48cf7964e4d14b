"""Create the first keys, and three tenants, each with an endpoint at the receiver."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.api.connection import open_async_client
from gateway.cli.dev.parts import Site, run_gateway
from gateway.host.private_files import write_private

TENANTS: Mapping[str, dict[str, Any]] = {
    "acme": {"name": "Acme", "metadata": {"plan": "gold", "region": "eu"}},
    "globex": {"name": "Globex", "metadata": {"plan": "silver", "region": "us"}},
    "initech": {"name": "Initech", "metadata": {"plan": "trial", "costCentre": "TPS-42"}},
}
_SECONDS = 30
_CONFLICT, _NOT_FOUND = 409, 404


class SeedError(Exception):
    """The API refused a request; the text holds its response."""


@dataclass(slots=True)
class TenantSeed:
    """A tenant's key, and the secret of its endpoint at the receiver."""

    slug: str
    access_key: str = ""
    endpoint_secret: str = ""


@dataclass(slots=True)
class Seeds:
    """The content of seeds.json."""

    operator_key: str = ""
    service_key: str = ""
    tenants: list[TenantSeed] = field(default_factory=list[TenantSeed])


class _Api:
    """Calls the gateway's API; raises SeedError if it refuses."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.operator = ""

    async def call(
        self, method: str, path: str, key: str, body: object = None, *, also: int = 0
    ) -> httpx.Response:
        answer = await self._client.request(method, path, headers={"Authorization": key}, json=body)
        if not answer.is_success and answer.status_code != also:
            raise SeedError(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        return answer

    async def admin(
        self, method: str, path: str, body: object = None, *, also: int = 0
    ) -> httpx.Response:
        return await self.call(method, f"/admin/v1{path}", self.operator, body, also=also)

    async def accepts(self, path: str, key: str) -> bool:
        """Whether the key works; an empty key does not."""
        if not key:
            return False
        answer = await self._client.get(path, headers={"Authorization": key})
        return answer.is_success


async def plant(folder: Path, site: Site, env: Mapping[str, str]) -> Seeds:
    """Create what is missing or no longer works, and save it in the folder's seeds.json.

    Raises SeedError or PartFailedError.
    """
    file = folder / "seeds.json"
    seeds = _load(file)
    async with open_async_client(site.api, seconds=_SECONDS) as client:
        api = _Api(client)
        await _plant_keys(api, seeds, env)
        if site.simulator is not None:
            seeds.tenants = [_known(seeds, slug) for slug in TENANTS]
            secrets: dict[str, list[str]] = {}
            for tenant in seeds.tenants:
                if await _is_suspended(api, tenant.slug):
                    continue  # its key is refused until somebody resumes it
                await _plant_tenant(api, site, tenant)
                write_private(file, json.dumps(asdict(seeds)))
                secrets[tenant.slug] = await _secrets(api, tenant)
            (await client.post(f"{site.receiver}/secrets", json=secrets)).raise_for_status()
    write_private(file, json.dumps(asdict(seeds)))
    return seeds


def _load(file: Path) -> Seeds:
    if not file.exists():
        return Seeds()
    kept = json.loads(file.read_text())
    tenants = [TenantSeed(**tenant) for tenant in kept["tenants"]]
    return Seeds(kept["operator_key"], kept["service_key"], tenants)


def _known(seeds: Seeds, slug: str) -> TenantSeed:
    return next((tenant for tenant in seeds.tenants if tenant.slug == slug), TenantSeed(slug))


async def _plant_keys(api: _Api, seeds: Seeds, env: Mapping[str, str]) -> None:
    if not await api.accepts("/admin/v1/tenant", seeds.operator_key):
        made = await run_gateway("key", "create", "--operator", "--name", "dev", "--json", env=env)
        seeds.operator_key = json.loads(made)["accessKey"]
    api.operator = seeds.operator_key
    if not await api.accepts("/v1/job", seeds.service_key):
        made = await api.admin("POST", "/key", {"kind": "service", "name": "dev"})
        seeds.service_key = made.json()["accessKey"]


async def _is_suspended(api: _Api, slug: str) -> bool:
    answer = await api.admin("GET", f"/tenant/{slug}", also=_NOT_FOUND)
    return answer.is_success and answer.json()["suspendedAt"] is not None


async def _plant_tenant(api: _Api, site: Site, tenant: TenantSeed) -> None:
    slug = tenant.slug
    if not await api.accepts("/v1/endpoint", tenant.access_key):
        await api.admin("POST", "/tenant", {"slug": slug, **TENANTS[slug]}, also=_CONFLICT)
        made = await api.admin("POST", f"/tenant/{slug}/key", {"name": "dev"})
        tenant.access_key = made.json()["accessKey"]
    await _plant_credential(api, f"{site.simulator}/v1", slug)
    await _plant_endpoint(api, f"{site.receiver}/hook/{slug}", tenant)


async def _plant_credential(api: _Api, upstream: str, slug: str) -> None:
    """Store a new credential unless the newest one is for the current simulator."""
    path = f"/tenant/{slug}/credential"
    versions = (await api.admin("GET", path)).json()
    newest = max(versions, key=lambda one: one["version"], default={"baseUrl": ""})
    if newest["baseUrl"] != upstream:
        await api.admin("PUT", path, {"apiKey": f"sim-{slug}"})


async def _plant_endpoint(api: _Api, url: str, tenant: TenantSeed) -> None:
    """Ensure one endpoint at the current receiver; delete those of earlier receivers or lost secrets."""
    listed = (await api.call("GET", "/v1/endpoint", tenant.access_key)).json()
    ours = [one for one in listed if one["url"].endswith(f"/hook/{tenant.slug}")]
    if tenant.endpoint_secret and [one["url"] for one in ours] == [url]:
        return
    for endpoint in ours:
        await api.call("DELETE", f"/v1/endpoint/{endpoint['id']}", tenant.access_key)
    wanted = {"url": url, "description": "the receiver of gateway dev"}
    made = await api.call("POST", "/v1/endpoint", tenant.access_key, wanted)
    tenant.endpoint_secret = made.json()["secret"]


async def _secrets(api: _Api, tenant: TenantSeed) -> list[str]:
    """Return the secrets for the tenant's path: its endpoint's, and the one of callback URLs."""
    answer = await api.call("GET", "/v1/endpoint/default-secret", tenant.access_key)
    return [tenant.endpoint_secret, answer.json()["secret"]]
