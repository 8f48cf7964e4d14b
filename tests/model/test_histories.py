"""The promises hold in every history that is drawn, and all comes to its end once it is healed.

`make test` draws the same few histories each time. For others, and longer ones:

    GATEWAY_MODEL_HISTORIES=2000 GATEWAY_MODEL_STEPS=40 pytest tests/model --timeout=0

A failure is told as the shortest history that leads to it, as calls of the machine's rules.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.clockwork import take_time_from_postgres
from tests.model.machine import Gateway
from tests.model.stage import Stage

_DEEP = os.environ.get("GATEWAY_MODEL_HISTORIES")
_HISTORIES = int(_DEEP or 20)
_STEPS = int(os.environ.get("GATEWAY_MODEL_STEPS", "10"))


@pytest.fixture(scope="module")
def timeless(database_url: str) -> str:
    take_time_from_postgres(database_url)
    return database_url


@pytest.fixture
def stage(timeless: str) -> Iterator[Stage]:
    made = Stage(timeless)
    yield made
    made.close()


def test_the_promises_hold_in_every_history(stage: Stage) -> None:
    class OnStage(Gateway):
        def __init__(self) -> None:
            super().__init__(stage)

    drawn = settings(
        max_examples=_HISTORIES,
        stateful_step_count=_STEPS,
        derandomize=_DEEP is None,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    run_state_machine_as_test(OnStage, settings=drawn)


def test_postgres_has_no_other_time(stage: Stage) -> None:
    stage.pass_time(100_000.0)
    stage.rows(
        "INSERT INTO tenant (id, slug, name, metadata) VALUES (gen_random_uuid(), 'a', '', '{}')"
    )
    rows = stage.rows("SELECT now(), created_at, updated_at FROM tenant")
    assert {*rows[0]} == {stage.time.now()}
