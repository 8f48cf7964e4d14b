"""The check of a receiver as a whole: the look at the way, the test event, and how both are judged."""

from dataclasses import replace

import pytest

from gateway.core.webhooks import receiver_check
from gateway.core.webhooks.receiver_check import StepName, StepResult
from gateway.core.webhooks.receiver_probe import ReceiverProbe
from gateway.errors import NotFound
from gateway.flows.deliver import check_receiver as flow
from gateway.flows.deliver.check_receiver import ReceiverCheck, check_receiver
from gateway.flows.deliver.endpoints import delete_endpoint
from gateway.ports import SendFault
from tests.adapters.receiver import OK, Talk, answering, hang, receiving, sending
from tests.flows.fakes import reply
from tests.flows.scenes import endpoint_row
from tests.flows.world import HOOK, World

NOBODY = "https://nobody.example/hook"
REDIRECT = b"HTTP/1.1 307 Moved\r\nLocation: https://new.example/x\r\nContent-Length: 0\r\n\r\n"


def step(check: ReceiverCheck, name: StepName) -> tuple[StepResult, str]:
    """The result and the words of a step."""
    found = next(one for one in check.judged.steps if one.name is name)
    return found.result, f"{found.found} {found.to_do}"


async def checked(world: World, talk: Talk) -> ReceiverCheck:
    """A check of a real receiver, by a real sender."""
    async with receiving(talk) as receiver, sending() as sender:
        tenant = await world.tenant(hook=receiver.url())
        endpoint = await endpoint_row(world, receiver.url())
        return await check_receiver(replace(world.deps, sender=sender), tenant, endpoint.id)


async def test_a_receiver_that_accepts_is_well_and_the_event_is_logged(world: World):
    check = await checked(world, answering(OK))
    assert step(check, StepName.REQUEST)[0] is StepResult.OK
    assert check.judged.result is StepResult.WARN  # it is http
    assert check.trial
    (row,) = await world.deliveries()
    assert (row.id, row.state) == (check.trial.delivery_id, "delivered")


async def test_a_redirect_is_told_and_not_followed(world: World):
    check = await checked(world, answering(REDIRECT))
    result, text = step(check, StepName.REQUEST)
    assert result is StepResult.FAIL
    assert "307, a redirect to https://new.example/x. Redirects are not followed." in text
    assert "change the URL" in text
    assert check.location == "https://new.example/x"


async def test_a_slow_receiver_ends_with_the_time_of_the_check(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    for module in (flow, receiver_check):
        monkeypatch.setattr(module, "CHECK_SECONDS", 0.5)
    check = await checked(world, hang)
    result, text = step(check, StepName.REQUEST)
    assert result is StepResult.FAIL
    assert "No answer came within" in text
    assert check.trial
    assert check.trial.attempt.error_class == "timeout"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(401), "answered with HTTP 401"),
        (reply(503), "answered with HTTP 503"),
        (
            SendFault("body", "The connection was closed before an answer came.", 0.1),
            "closed before",
        ),
    ],
)
async def test_a_failed_test_event_says_why(world: World, answer: object, words: str):
    tenant = await world.tenant(hook=HOOK)
    world.sender.will(HOOK, answer)  # pyright: ignore[reportArgumentType]
    check = await check_receiver(world.deps, tenant, (await endpoint_row(world)).id)
    result, text = step(check, StepName.REQUEST)
    assert result is check.judged.result is StepResult.FAIL
    assert words in text


async def test_an_endpoint_without_a_secret_says_so(world: World):
    tenant = await world.tenant(hook=HOOK)
    async with world.deps.db.begin() as tx:
        await tx.run("DELETE FROM signing_secret")
    check = await check_receiver(world.deps, tenant, (await endpoint_row(world)).id)
    assert step(check, StepName.REQUEST)[0] is StepResult.FAIL
    assert "rotate the secret" in step(check, StepName.REQUEST)[1]
    assert world.sender.sent == []


async def test_a_way_that_takes_all_the_time_leaves_none_for_the_event(world: World):
    tenant = await world.tenant(hook=HOOK)
    look = world.sender.probe

    async def slow(url: str, within: float) -> ReceiverProbe:
        world.clock.advance(within)
        return await look(url, within)

    world.sender.probe = slow
    check = await check_receiver(world.deps, tenant, (await endpoint_row(world)).id)
    result, text = step(check, StepName.REQUEST)
    assert (result, check.trial) == (StepResult.FAIL, None)
    assert "No time was left of 10 s" in text


async def test_without_a_way_no_event_is_sent(world: World):
    async with sending(names={}) as sender:
        tenant = await world.tenant(hook=NOBODY)
        endpoint = await endpoint_row(world, NOBODY)
        check = await check_receiver(replace(world.deps, sender=sender), tenant, endpoint.id)
    assert step(check, StepName.DNS)[0] is StepResult.FAIL
    assert step(check, StepName.REQUEST)[0] is StepResult.SKIPPED
    assert check.trial is None
    assert await world.deliveries() == []


async def test_an_endpoint_that_is_gone_is_not_found(world: World):
    tenant = await world.tenant(hook=HOOK)
    endpoint = await endpoint_row(world)
    await delete_endpoint(world.deps, tenant.id, endpoint.id)
    with pytest.raises(NotFound):
        await check_receiver(world.deps, tenant, endpoint.id)
