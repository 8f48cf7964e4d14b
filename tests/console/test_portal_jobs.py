"""The list of jobs in the portal of a tenant: nothing of another tenant is counted, exported or changed."""

import re

import httpx
import pytest

from tests.console.conftest import signed_in
from tests.console.test_job_acts import act
from tests.console.test_job_list import counts, failed, headings
from tests.console.test_portal import entered
from tests.web.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def of_portal(path: str) -> str:
    return path.replace("/console", "/portal")


async def test_counts_exports_and_acts_are_those_of_the_tenant(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    rival = await world.tenant("globex")
    mine, theirs = await world.job(acme), await world.job(rival, name="hidden of globex")
    for job_id in (mine, theirs):
        await world.finish(job_id, failed())
    portal = await entered(world, client, acme)
    page = (await portal.get(f"/portal/jobs/counts?tenant={rival}")).text
    assert counts(page)["FAILED"] == "1"
    for form in ("csv", "ndjson"):
        sent = (await portal.get(f"/portal/jobs/export?tenant={rival}&format={form}")).text
        assert mine in sent
        assert theirs not in sent
    page = (await portal.get("/portal/jobs?columns=tenant&columns=name&columns=id")).text
    assert headings(page) == ["Name", "Id"]
    page = (await portal.get(of_portal(act("retry", mine, theirs, tenant=rival)))).text
    assert "Retry 1 job" in page
    assert "globex" not in page.replace(rival, "").lower()
    assert (await portal.get(of_portal(act("retry", theirs)))).status_code == 404
    path = of_portal(act("retry", tenant=rival))
    page = (await portal.get(path)).text
    assert "Retry 1 job" in page
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    begun = await portal.post(path, form)
    assert begun.status_code == 303, begun.text
    assert begun.headers["location"].startswith("/portal/bulk/")
    assert await world.get("/v1/bulk", rival) == []
    assert [one["total"] for one in await world.get("/v1/bulk", acme)] == [1]
    assert "is running" in (await portal.get("/portal/jobs")).text


async def test_saved_views_are_those_of_the_tenant(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    rival = await world.tenant("globex")
    staff = await signed_in(world, client, "operator")
    await staff.post("/console/jobs/views", {"name": "of staff", "query": "", "shared": "yes"})
    portal = await entered(world, client, acme)
    kept = {"name": "of acme", "query": f"tenant={rival}&status=FAILED", "shared": "yes"}
    answer = await portal.post("/portal/jobs/views", kept)
    assert answer.headers["location"] == "/portal/jobs?status=FAILED&told=saved"
    reader = await entered(world, client, acme, read_only=True)
    page = (await reader.get("/portal/jobs")).text
    assert "of acme" in page
    assert "of staff" not in page
    assert "Save view" not in page
    refused = await reader.post("/portal/jobs/views", {"name": "x", "query": ""})
    assert refused.status_code == 403
    other = await entered(world, client, rival)
    assert "of acme" not in (await other.get("/portal/jobs/views")).text
    assert "of acme" not in (await staff.get("/console/jobs/views")).text
