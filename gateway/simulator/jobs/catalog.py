"""The applications by key, and the workflows."""

import uuid

from gateway.simulator.jobs.table import SimulatedApplication
from gateway.simulator.jobs.workflows import BUILT_IN, NAMESPACE, SimulatedWorkflow, make_workflow


class Catalog:
    """Applications and workflows; keys that begin with `sim-` exist as soon as they are used."""

    def __init__(self) -> None:
        self.applications: dict[str, SimulatedApplication] = {}
        self.workflows: dict[str, SimulatedWorkflow] = {}
        self._by_id: dict[str, SimulatedWorkflow] = {}
        for slug, name, description, outputs in BUILT_IN:
            self.add_workflow(make_workflow(slug, name, description, outputs))

    def add_workflow(self, workflow: SimulatedWorkflow) -> None:
        self.workflows[workflow.slug] = workflow
        self._by_id[workflow.id] = workflow

    def workflow(self, slug_or_id: str) -> SimulatedWorkflow | None:
        return self.workflows.get(slug_or_id) or self._by_id.get(slug_or_id)

    def application(self, key: str) -> SimulatedApplication | None:
        known = self.applications.get(key)
        if known is None and key.startswith("sim-") and len(key) > len("sim-"):
            known = self.add_key(key)
        return known

    def add_key(self, key: str, name: str | None = None) -> SimulatedApplication:
        """Add a key, or return the known one; its name is derived from the key unless given."""
        known = self.applications.get(key)
        if known is None:
            label = name or key.removeprefix("sim-").replace("-", " ").title()
            identity = str(uuid.uuid5(NAMESPACE, f"application:{key}"))
            known = self.applications[key] = SimulatedApplication(key, label, identity)
        if name is not None:
            known.name = name
        return known
