"""Names of workflows as labels: only what the upstream lists, and not too many."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from gateway.workflow_labels import WorkflowLabels

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def asked() -> list[UUID]:
    return []


@pytest.fixture
def labels(asked: list[UUID]) -> Iterator[WorkflowLabels]:
    """Labels that have every list asked for."""

    def ask(tenant_id: UUID) -> bool:
        asked.append(tenant_id)
        return True

    made = WorkflowLabels()
    with made.asking(ask):
        yield made
    before = len(asked)
    made.count(UUID(int=99), "late", lambda *_: None)
    assert len(asked) == before, "nobody is asked after the end"


def test_only_listed_workflows_are_named() -> None:
    labels, seen = WorkflowLabels(), list[tuple[str, int]]()

    def add(label: str, count: int) -> None:
        seen.append((label, count))

    labels.learn(ONE, frozenset({"stems"}))
    for tenant, workflow in ((ONE, "stems"), (ONE, "mine"), (OTHER, "stems"), (None, "stems")):
        labels.count(tenant, workflow, add)
    assert seen == [("stems", 1), ("other", 1), ("other", 1), ("other", 1)]


def test_counts_before_the_list_are_added_when_it_is_known(
    labels: WorkflowLabels, asked: list[UUID]
) -> None:
    seen = list[tuple[str, int]]()

    def add(label: str, count: int) -> None:
        seen.append((label, count))

    for workflow in ("stems", "stems", "nope"):
        labels.count(ONE, workflow, add)
    labels.count(OTHER, "stems", add)
    assert (seen, asked[0], len(asked)) == ([], ONE, 4)
    labels.learn(ONE, frozenset({"stems"}))
    assert sorted(seen) == [("other", 1), ("stems", 2)]
    labels.learn(OTHER, frozenset())
    assert seen[-1] == ("other", 1)


def test_held_counts_and_names_are_bounded(labels: WorkflowLabels) -> None:
    seen = list[str]()

    def add(label: str, count: int) -> None:
        seen.extend([label] * count)

    names = [f"w{n}" for n in range(1_200)]
    for name in names:
        labels.count(ONE, name, add)
    assert seen == ["other"] * 200
    labels.learn(ONE, frozenset(names))
    assert len(set(seen)) == 101
    assert len(seen) == 1_200


def test_the_number_of_remembered_tenants_is_bounded() -> None:
    labels = WorkflowLabels()
    for number in range(10_001):
        labels.learn(UUID(int=number), frozenset({"stems"}))
    seen = list[str]()
    for number in (0, 1):
        labels.count(UUID(int=number), "stems", lambda label, _: seen.append(label))
    assert seen == ["other", "stems"]
