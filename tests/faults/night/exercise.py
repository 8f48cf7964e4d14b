"""The night exercise: each fault is injected into a deployment, named by `gateway doctor`, and mended.

`make night` runs it; it takes minutes, so `make test` does not. At its end it prints the table of
docs/runbooks/README.md.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.night.deployment import Night, start_night
from tests.faults.night.table import FAULTS, NightFault

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
_told: list[str] = []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def night() -> AsyncIterator[Night]:
    async with start_night() as started:
        yield started
    print("\n\n| fault | the finding that named it | alert | seconds |\n|---|---|---|---|")
    print(*_told, f"{len(_told)} of {len(FAULTS)} faults were named.", sep="\n")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
async def test_the_doctor_names_it_and_is_quiet_afterwards(night: Night, fault: NightFault) -> None:
    async with fault.inject(night) as changes:
        named = await night.named(fault.subject, fault.words, changes)
        fires = await night.fires(fault.alert)
    rest = await night.is_quiet()
    finding = named.finding
    assert finding is not None, named.wrong
    assert finding["advice"]
    assert fires is not False, f"{fault.alert} does not fire"
    print(f"\n{fault.name}: named after {named.seconds:.1f} s, quiet {rest:.1f} s after the repair")
    print(f"{finding['level'].upper():<8} {finding['subject']:<12} {finding['text']}")
    print(f"{'':<21} What to do: {finding['advice']}")
    text = f"`{finding['subject']}`: {finding['text']}"
    _told.append(f"| {fault.name} | {text} | {fault.alert or '-'} | {named.seconds:.1f} |")
