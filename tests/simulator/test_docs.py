"""docs/simulator.md shows every switch, and each of its examples is accepted."""

import json
import re
from pathlib import Path

import pytest

from gateway.simulator.behaviour import Behaviour
from gateway.simulator.control.control_routes import CHANGES
from gateway.simulator.control.observe import VIEWS
from gateway.simulator.faults.answers import Respond
from gateway.simulator.faults.script import CHAOS, Match
from gateway.simulator.jobs.plans import Plan
from tests.simulator.driver import KEY, Driver

PAGE = (Path(__file__).parent.parent.parent / "docs/simulator.md").read_text()
EXAMPLES = re.findall(r"```json POST (\S+)\n(.*?)\n```", PAGE, re.DOTALL)


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


@pytest.mark.parametrize(("path", "body"), EXAMPLES, ids=lambda text: text[:40])
async def test_each_example_is_accepted(driver: Driver, path: str, body: str) -> None:
    answer = await driver.http.post(path, json=json.loads(body), headers={"Authorization": KEY})

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("model", [Plan, Behaviour, Match, Respond])
def test_each_field_is_described(model: type[Plan | Behaviour | Match | Respond]) -> None:
    missing = [name for name in model.__struct_fields__ if f"`{camel(name)}`" not in PAGE]

    assert missing == []


def test_each_control_and_kind_is_described() -> None:
    paths = {path for _, path in CHANGES} | set(VIEWS)

    assert [path for path in sorted(paths) if f"/_control/{path}".rstrip("/") not in PAGE] == []
    assert [kind for kind in CHAOS if not re.search(rf"[ `]{kind}[ `]", PAGE)] == []
