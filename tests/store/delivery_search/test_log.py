"""Deliveries as callers read them: one, those of a job, and pages of a filter."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from gateway.core.model import Delivery, DeliveryState
from gateway.store.database import Tx
from gateway.store.delivery_search import log
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.store.webhooks import endpoints
from tests.builders import add_deliveries, add_endpoint, add_tenant, id_at, put, row_of


async def test_only_the_tenant_finds_a_delivery_and_its_body(tx: Tx) -> None:
    tenant, other, job_id = await add_tenant(tx), await add_tenant(tx), uuid7()
    endpoint = await add_endpoint(tx, tenant)
    (id_,) = await add_deliveries(tx, tenant, endpoint, job_id=job_id)
    row = await row_of(tx, "delivery", id_)
    expected = Delivery(
        id=id_,
        tenant_id=tenant,
        event_id=row.event_id,
        event_type="test.ping",
        job_id=job_id,
        endpoint_id=endpoint,
        url="https://hooks.example/x",
        state=DeliveryState.PENDING,
        attempts=0,
        next_at=row.now,
        last_status=None,
        last_class=None,
        last_error=None,
        resent_at=None,
        created_at=row.now,
        completed_at=None,
    )
    assert await log.find(tx, tenant, id_) == (expected, "{}")
    assert await log.find(tx, other, id_) is None
    assert await log.of_job(tx, tenant, job_id) == [expected]
    assert await log.of_job(tx, other, job_id) == []


async def test_the_deliveries_of_a_job_are_in_order(tx: Tx) -> None:
    tenant, job_id = await add_tenant(tx), uuid7()
    ids = await add_deliveries(tx, tenant, count=3, job_id=job_id)
    await add_deliveries(tx, tenant, job_id=uuid7())
    found = await log.of_job(tx, tenant, job_id)
    assert [d.id for d in found] == ids
    assert {d.url for d in found} == {"https://own.example/x"}


async def test_the_url_of_a_deleted_endpoint_stays_in_the_log(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant)
    (id_,) = await add_deliveries(tx, tenant, endpoint)
    await endpoints.delete(tx, tenant, endpoint)
    found = await log.find(tx, tenant, id_)
    assert found is not None
    assert found[0].url == "https://hooks.example/x"


# --- Filters ------------------------------------------------------------------------------------

DAY = timedelta(days=1)


class Scene:
    """Six deliveries of a tenant, which differ in everything that a filter can check."""

    def __init__(self, tenant: UUID, first: UUID, second: UUID) -> None:
        self.tenant, self.first, self.second = tenant, first, second
        self.job = uuid7()
        self.ids: list[UUID] = []


@pytest_asyncio.fixture(loop_scope="module")
async def scene(tx: Tx) -> Scene:
    made = [await lay_out(tx) for _ in range(2)]
    return made[0]


async def lay_out(tx: Tx) -> Scene:
    tenant = await add_tenant(tx)
    scene = Scene(tenant, await add_endpoint(tx, tenant), await add_endpoint(tx, tenant))
    rows: list[tuple[UUID | None, str, str, str | None, bool]] = [
        (scene.first, "delivered", "job.succeeded", None, True),
        (scene.first, "pending", "job.failed", "http_5xx", True),
        (scene.second, "exhausted", "job.failed", "http_5xx", False),
        (scene.second, "parked", "test.ping", None, False),
        (None, "exhausted", "job.succeeded", "timeout", True),
        (scene.first, "delivered", "test.ping", None, False),
    ]
    for age, (endpoint, state, kind, klass, of_job) in enumerate(rows):
        job_id = scene.job if of_job else None
        (id_,) = await add_deliveries(tx, tenant, endpoint, state=state, job_id=job_id)
        row = await row_of(tx, "delivery", id_)
        await put(tx, "event", row.event_id, type=kind)
        await put(tx, "delivery", id_, type=kind)
        at = row.now - (6 - age) * DAY
        scene.ids.append(id_at(at))
        await put(tx, "delivery", id_, created_at=at, last_class=klass, id=scene.ids[-1])
    return scene


async def shown(tx: Tx, scene: Scene, **wanted: Any) -> list[int]:
    """The positions in `ids` of the deliveries that a filter shows, in the order of the page."""
    found = await log.page(tx, DeliveryFilter(scene.tenant, **wanted), before=None, limit=9)
    return [scene.ids.index(one.id) for one in found]


async def test_without_a_filter_all_of_the_tenant_are_shown_newest_first(
    tx: Tx, scene: Scene
) -> None:
    assert await shown(tx, scene) == [5, 4, 3, 2, 1, 0]


async def test_each_filter_alone(tx: Tx, scene: Scene) -> None:
    now = (await row_of(tx, "delivery", scene.ids[0])).now
    assert await shown(tx, scene, endpoints=(scene.first,)) == [5, 1, 0]
    assert await shown(tx, scene, endpoints=(scene.first, scene.second)) == [5, 3, 2, 1, 0]
    assert await shown(tx, scene, states=("exhausted",)) == [4, 2]
    assert await shown(tx, scene, states=("exhausted", "parked")) == [4, 3, 2]
    assert await shown(tx, scene, events=("job.failed",)) == [2, 1]
    assert await shown(tx, scene, events=("job.failed", "test.ping")) == [5, 3, 2, 1]
    assert await shown(tx, scene, jobs=(scene.job,)) == [4, 1, 0]
    assert await shown(tx, scene, jobs=(uuid7(),)) == []
    assert await shown(tx, scene, outcomes=("http_5xx",)) == [2, 1]
    assert await shown(tx, scene, outcomes=("delivered",)) == [5, 0]
    assert await shown(tx, scene, outcomes=("delivered", "timeout")) == [5, 4, 0]
    assert await shown(tx, scene, created_after=now - 3 * DAY) == [5, 4, 3]
    assert await shown(tx, scene, created_before=now - 3 * DAY) == [2, 1, 0]
    await put(tx, "delivery", scene.ids[2], resent_at=-5)
    assert await shown(tx, scene, resent_after=now - timedelta(seconds=6)) == [2]
    assert await shown(tx, scene, resent_after=now - timedelta(seconds=5)) == []


async def test_a_delivery_must_match_all_filters(tx: Tx, scene: Scene) -> None:
    now = (await row_of(tx, "delivery", scene.ids[0])).now
    everything: dict[str, Any] = {
        "endpoints": (scene.first,),
        "states": ("pending", "delivered"),
        "events": ("job.succeeded", "job.failed"),
        "jobs": (scene.job,),
        "outcomes": ("http_5xx", "delivered"),
        "created_after": now - 6 * DAY,
        "created_before": now - 4 * DAY,
    }
    assert await shown(tx, scene, **everything) == [1, 0]
    for name, value in (
        ("endpoints", (scene.second,)),
        ("states", ("parked",)),
        ("events", ("test.ping",)),
        ("jobs", (uuid7(),)),
        ("outcomes", ("timeout",)),
        ("created_after", now),
        ("created_before", now - 7 * DAY),
    ):
        assert await shown(tx, scene, **everything | {name: value}) == [], name


@pytest.mark.parametrize(
    ("minutes", "is_shown"), [(-61, False), (-59, True), (59, True), (61, False)]
)
async def test_the_clock_that_makes_ids_may_be_an_hour_off(
    tx: Tx, minutes: int, is_shown: bool
) -> None:
    tenant = await add_tenant(tx)
    (made,) = await add_deliveries(tx, tenant)
    now = (await row_of(tx, "delivery", made)).now
    await put(tx, "delivery", made, id=id_at(now + timedelta(minutes=minutes)))
    moment = timedelta(seconds=1)
    within = DeliveryFilter(tenant, created_after=now - moment, created_before=now + moment)
    assert len(await log.page(tx, within, before=None, limit=9)) == is_shown


@pytest.mark.parametrize(
    "at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)]
)
async def test_the_first_and_the_last_possible_times_are_valid_filters(
    tx: Tx, scene: Scene, at: datetime
) -> None:
    is_past = at.year == 1
    assert len(await shown(tx, scene, created_after=at)) == 6 * is_past
    assert len(await shown(tx, scene, created_before=at)) == 6 * (not is_past)


async def test_paging_shows_each_delivery_once(tx: Tx, scene: Scene) -> None:
    wanted = DeliveryFilter(scene.tenant, endpoints=(scene.first, scene.second))
    seen: list[UUID] = []
    while found := await log.page(tx, wanted, before=seen[-1] if seen else None, limit=2):
        assert len(found) <= 2
        seen += [one.id for one in found]
    assert [scene.ids.index(id_) for id_ in seen] == [5, 3, 2, 1, 0]


async def test_endpoints_and_jobs_of_another_tenant_show_nothing(tx: Tx, scene: Scene) -> None:
    stranger = await add_tenant(tx)
    for wanted in (
        DeliveryFilter(stranger),
        DeliveryFilter(stranger, endpoints=(scene.first,)),
        DeliveryFilter(stranger, jobs=(scene.job,)),
    ):
        assert await log.page(tx, wanted, before=None, limit=9) == []
