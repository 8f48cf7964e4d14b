"""Workflow names as metric labels: only names that the upstream lists, never a caller's text."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from uuid import UUID

OTHER = "other"
_MOST = 100
_TENANTS = 10_000
_HELD = 1_000

Add = Callable[[str, int], None]
Ask = Callable[[UUID], bool]


class WorkflowLabels:
    """Counts by workflow, and holds counts back until the list of the tenant is known."""

    def __init__(self) -> None:
        self._ask: Ask = _nobody
        self._listed: dict[UUID, frozenset[str]] = {}
        self._shown: set[str] = set()
        self._held: Counter[tuple[UUID, str, Add]] = Counter()

    @contextmanager
    def asking(self, ask: Ask) -> Generator[None]:
        """Ask for lists while the block runs; `ask` returns whether a list will come."""
        self._ask = ask
        try:
            yield
        finally:
            self._ask = _nobody

    def count(self, tenant_id: UUID | None, workflow: str, add: Add) -> None:
        """Call `add` with the label of a workflow and a number, now or when the list is known."""
        listed = None if tenant_id is None else self._listed.get(tenant_id)
        if listed is not None and workflow in listed:
            add(self._label(workflow), 1)
        elif tenant_id is not None and self._ask(tenant_id) and len(self._held) < _HELD:
            self._held[tenant_id, workflow, add] += 1
        else:
            add(OTHER, 1)

    def learn(self, tenant_id: UUID, names: frozenset[str]) -> None:
        """Store the list of a tenant, and add the counts that were held back for it."""
        self._listed[tenant_id] = names
        while len(self._listed) > _TENANTS:
            del self._listed[next(iter(self._listed))]
        for held in [one for one in self._held if one[0] == tenant_id]:
            _, workflow, add = held
            add(self._label(workflow) if workflow in names else OTHER, self._held.pop(held))

    def _label(self, workflow: str) -> str:
        if workflow not in self._shown and len(self._shown) >= _MOST:
            return OTHER
        self._shown.add(workflow)
        return workflow


def _nobody(_tenant_id: UUID) -> bool:
    return False
