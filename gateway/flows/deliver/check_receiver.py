"""Receiver check: look at the way to an endpoint step by step, then send it a signed test event.

It runs when somebody asks, and ends within ten seconds. The test event is logged like that of a test;
nothing else is stored, so a crash leaves nothing.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.core.model import Endpoint, Tenant
from gateway.core.webhooks.receiver_check import (
    CHECK_SECONDS,
    CheckedStep,
    JudgedCheck,
    StepName,
    StepResult,
    judge_check,
    judge_request,
)
from gateway.core.webhooks.receiver_probe import ReceiverProbe
from gateway.errors import Conflict, SecretSealed
from gateway.flows.deliver.endpoints import find_endpoint
from gateway.flows.deliver.sample import SampleDelivery, try_endpoint
from gateway.flows.deps import Deps

_LEAST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ReceiverCheck:
    """A check that was judged; `trial` is the test event, None if none was sent."""

    endpoint: Endpoint
    at: datetime
    seconds: float
    judged: JudgedCheck
    trial: SampleDelivery | None

    @property
    def location(self) -> str | None:
        """Where the answer points, if it is a redirect."""
        return _location(self.trial) if self.trial else None


async def check_receiver(
    deps: Deps, tenant: Tenant, endpoint_id: UUID, *, sees_inside: bool = False
) -> ReceiverCheck:
    """Check an endpoint; `sees_inside` shows staff the addresses of the operator's own network.

    Raises NotFound.
    """
    endpoint = await find_endpoint(deps, tenant.id, endpoint_id)
    at, started = deps.clock.now(), deps.clock.monotonic()
    probe = await deps.sender.probe(endpoint.url, CHECK_SECONDS)
    left = CHECK_SECONDS - (deps.clock.monotonic() - started)
    request, trial = await _try(deps, tenant, endpoint, probe, left)
    judged = judge_check(probe, request, at, sees_inside=sees_inside)
    return ReceiverCheck(endpoint, at, deps.clock.monotonic() - started, judged, trial)


async def _try(
    deps: Deps, tenant: Tenant, endpoint: Endpoint, probe: ReceiverProbe, left: float
) -> tuple[CheckedStep | None, SampleDelivery | None]:
    if not probe.is_reached:
        return None, None
    if left < _LEAST_SECONDS:
        return _failed(
            f"No time was left of {CHECK_SECONDS:g} s.", "make the steps before faster"
        ), None
    try:
        trial = await try_endpoint(deps, tenant, endpoint.id, within=left)
    except (Conflict, SecretSealed) as error:
        return _failed(error.detail, "rotate the secret of the endpoint"), None
    return judge_request(trial.attempt, _location(trial)), trial


def _failed(found: str, to_do: str) -> CheckedStep:
    return CheckedStep(StepName.REQUEST, StepResult.FAIL, found, to_do)


def _location(trial: SampleDelivery) -> str | None:
    headers: dict[str, str] = json.loads(trial.attempt.response_headers or "{}")
    return next((value for name, value in headers.items() if name.lower() == "location"), None)
