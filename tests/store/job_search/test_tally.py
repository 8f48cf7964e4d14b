"""Tallies are right as far as they read, and say where they stopped."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from gateway.core.model import STATUS_STATES
from gateway.store.database import Tx
from gateway.store.job_search import indexes, search, tally
from gateway.store.job_search.filter import JobFilter
from tests.store.job_search.test_search import FAILED, add_past, any_filter, fits

STATUS_OF = {state.value: status for status, states in STATUS_STATES.items() for state in states}


@pytest.mark.parametrize("few", [2_000, 1])
@pytest.mark.parametrize("most_tenants", [100, 0])
async def test_a_tally_counts_the_jobs_that_fit(
    tx: Tx, monkeypatch: pytest.MonkeyPatch, most_tenants: int, few: int
) -> None:
    monkeypatch.setattr(search, "_FEW", few)  # beyond it the order of ids decides
    monkeypatch.setattr(indexes, "_MOST_TENANTS", most_tenants)
    chance = random.Random(11)
    past = await add_past(tx, chance)
    for _ in range(60):
        wanted = any_filter(chance, past)
        found = [row for row in past.jobs if fits(wanted, row)]
        statuses = Counter(STATUS_OF[row.state] for row in found)
        codes = Counter(row.code for row in found if row.state in FAILED)
        told = await tally.by_status(tx, wanted)
        assert {one.key: one.jobs for one in told if one.jobs} == statuses, wanted
        told += await tally.by_error_code(tx, wanted)
        assert {one.key: one.jobs for one in told if one.key in ("E1", "E2")} == codes, wanted
        assert not any(one.is_floor for one in told)


async def test_a_tally_reads_no_more_than_it_may_and_says_so(
    tx: Tx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MOST", 2)
    past = await add_past(tx, random.Random(3))
    tenant = max(past.tenants, key=lambda one: sum(row.tenant_id == one for row in past.jobs))
    wanted = JobFilter((tenant,), workflows=("v", "w"))
    real = Counter(STATUS_OF[row.state] for row in past.jobs if fits(wanted, row))
    for one in await tally.by_status(tx, wanted):
        assert one.is_floor == (real[one.key] > 2)
        assert one.jobs == min(real[one.key], 3)
    narrow = replace(wanted, names=("n",), metadata=(("k", ("x",)),))
    for one in [*await tally.by_status(tx, narrow), *await tally.by_error_code(tx, narrow)]:
        assert one.jobs <= 3


async def test_a_filter_that_no_job_can_meet_has_no_tally(tx: Tx) -> None:
    past = await add_past(tx, random.Random(3))
    wanted = JobFilter(tuple(past.tenants), states=("accepted",), error_codes=("E1",))
    assert [one.jobs for one in await tally.by_status(tx, wanted)] == [0]
    assert await tally.by_error_code(tx, wanted) == []


async def test_many_cancelled_jobs_do_not_hide_the_codes_of_failed_ones(
    tx: Tx, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = await add_past(tx, random.Random(3))
    wanted = JobFilter(tuple(past.tenants))
    cancelled = sum(row.state == "cancelled" for row in past.jobs)
    monkeypatch.setattr(tally, "MOST", cancelled - 1)
    codes = await tally.by_error_code(tx, wanted)
    assert sum(one.jobs for one in codes) > cancelled
