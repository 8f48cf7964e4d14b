"""The export of a tenant: every row, kind by kind and page by page."""

import json
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store import tenant_export
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.lists import NewNote
from gateway.store.schema import metadata
from gateway.store.tenancy import access_keys, audit, sessions
from gateway.store.usage import rollups
from gateway.store.webhooks import attempts
from gateway.store.work import bulk_operations, settlement
from gateway.store.work.settlement import JobEnd
from tests.builders import (
    add_deliveries,
    add_endpoint,
    add_jobs,
    add_tenant,
    add_view,
    claim_deliveries,
    key_of,
    recorded_of,
    session_of,
)

# Columns that are not exported: secrets, and the working state of the gateway.
INTERNAL = {"signing_secret", "job_label", "prune_cursor", "usage_hour", "usage_daily"} | {
    "session_link",
    "usage_horizon",
    "beacon",
    "tenant_load",
}
TABLES = {
    "access_key": "key",
    "job_event": "note",
    "saved_view": "view",
    "usage_hourly": "usage",
}


async def fill(tx: Tx) -> UUID:
    """Add a tenant with at least two rows of each kind."""
    tenant = await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 3, params='{"a":\n[1]}')
    await lists.add_notes(tx, [NewNote(uuid7(), tenant, id_, "t", "d") for id_ in ids])
    await settlement.finish(tx, [JobEnd(id_, "succeeded", None, None, None, None) for id_ in ids])
    await rollups.add_jobs(tx, ids)
    endpoint = await add_endpoint(tx, tenant)
    await add_deliveries(tx, tenant, endpoint, 3, job_id=ids[0])
    token = uuid7()
    claimed = await claim_deliveries(tx, token=token)
    await attempts.record(tx, [recorded_of(one, token, "delivered") for one in claimed])
    await access_keys.add(tx, key_of(tenant_id=tenant))
    await sessions.add(tx, session_of(tenant_id=tenant), uuid7().bytes)
    for _ in range(2):
        await add_view(tx, tenant)
    await audit.add(tx, uuid7(), key_id="k", action="a", subject="s", tenant_id=tenant, detail="{}")
    await bulk_operations.add(
        tx,
        uuid7(),
        tenant,
        kind="resend",
        endpoint_id=None,
        filter_="{}",
        total=0,
        most=9,
        until=None,
    )
    return tenant


async def lines_of(
    tx: Tx, tenant: UUID, limit: int, *, most: int = 1_000_000, parts: int = 100
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for kind in tenant_export.KINDS:
        page: tenant_export.ExportPage | None = None
        while page is None or page.next is not None:
            after = page and page.next
            page = await tenant_export.page(tx, kind, tenant, after, limit=limit, most=most)
            lines = [*page.lines]
            part: tenant_export.ExportPage | None = None
            while part is None or part.next is not None:
                after = part and part.next
                part = await tenant_export.parts(tx, kind, tenant, page.ids, after, limit=parts)
                lines += part.lines
            for line in lines:
                assert "\n" not in line
                row = json.loads(line)
                found.setdefault(row["kind"], []).append(row)
    return found


@pytest.mark.parametrize(("limit", "most"), [(1, 10**6), (3, 10**6), (100, 10**6), (100, 1)])
@pytest.mark.parametrize("parts", [1, 100])
async def test_an_export_has_each_row_of_its_tenant_once(
    tx: Tx, limit: int, most: int, parts: int
) -> None:
    tenant = await fill(tx)
    other = await fill(tx)
    found = await lines_of(tx, tenant, limit, most=most, parts=parts)
    for table in metadata.tables.values():
        if "tenant_id" in table.columns and table.name not in INTERNAL:
            kind = TABLES.get(table.name, table.name)
            row = await tx.one(f"SELECT count(*) FROM {table.name} WHERE tenant_id = $1", tenant)
            assert len(found[kind]) == row[0] > 0, kind
    ids = [row["id"] for rows in found.values() for row in rows if "id" in row]
    assert len(set(ids)) == len(ids)
    assert str(other) not in json.dumps(found)


async def test_an_export_has_the_field_names_of_the_api(tx: Tx) -> None:
    found = await lines_of(tx, await fill(tx), 100)
    (job, *_), (attempt, *_) = found["job"], found["attempt"]
    assert (job["params"], job["metadata"], job["batchName"]) == ({"a": [1]}, {}, None)
    assert job["createdAt"].endswith("Z")
    assert attempt["requestHeaders"] == {"a": "b"}
    assert attempt["startedAt"] == "2026-01-02T03:04:05.000Z"
    assert [row["jobs"] for row in found["usage"]] == [3]
    assert "sealed" not in json.dumps(found)


async def test_a_page_has_as_many_rows_as_fit(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await add_jobs(tx, tenant, 3, params='{"a":"%s"}' % ("x" * 9_000))
    await add_jobs(tx, tenant, 3)
    sizes: list[int] = []
    after = None
    while page := await tenant_export.page(tx, "job", tenant, after, limit=100, most=1_500):
        if page.next is None:
            break
        sizes.append(len(page.lines))
        after = page.next
    assert sum(sizes) == 6
    assert sizes[:2] == [1, 1]
    assert sizes[-1] >= 3


async def test_an_unknown_tenant_has_an_empty_export(tx: Tx) -> None:
    assert await lines_of(tx, uuid7(), 10) == {}
