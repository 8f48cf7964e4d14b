"""The night exercise: each fault is injected into a deployment, named by `gateway doctor`, and mended.

`make night` runs it; it takes minutes, so `make test` does not.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.night.deployment import Night, start_night
from tests.faults.night.table import FAULTS, NightFault

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def night() -> AsyncIterator[Night]:
    async with start_night() as started:
        yield started


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
async def test_the_doctor_names_it_and_is_quiet_afterwards(night: Night, fault: NightFault) -> None:
    async with fault.inject(night) as changes:
        named = await night.named(fault.subject, fault.words, changes)
    rest = await night.is_quiet()
    assert named.finding is not None, named.wrong
    finding = named.finding
    assert finding["advice"]
    print(f"\n{fault.name}: named after {named.seconds:.1f} s, quiet {rest:.1f} s after the repair")
    print(f"  {finding['level'].upper():<8} {finding['subject']:<12} {finding['text']}")
    print(f"           {'':<12} What to do: {finding['advice']}")
