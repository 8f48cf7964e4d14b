"""Renders the Helm chart, as Helm does, and finds objects in what it renders."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

helm = pytest.importorskip("helm_python", reason="Helm is not installed: make deploy-tools")

CHART = Path(__file__).parents[3] / "deploy/helm/job-gateway"
CASES = {path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}
RELEASE, NAMESPACE = "jobs", "prod"
NAME = f"{RELEASE}-job-gateway"
# The least that must be set; tests add what they are about.
LEAST: dict[str, Any] = {
    "image": {"repository": "registry.example.com/job-gateway"},
    "secrets": {"existingSecret": "gateway"},
}

Manifest = dict[str, Any]


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice: YAML would take the last one without a word."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"a key is there twice: {keys}, {node.start_mark}"
        return super().construct_mapping(node, deep)


def values_of(case: str) -> dict[str, Any]:
    """Read one of the chart's own value files."""
    return yaml.safe_load(CASES[case].read_text())


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values over others, as Helm does."""
    whole = dict(values)
    for name, value in more.items():
        below = whole.get(name)
        whole[name] = merged(below, value) if isinstance(below, dict) and value else value
    return whole


@cache
def _chart() -> Any:
    return helm.Chart.load(CHART)


@cache
def _rendered(values: str) -> dict[str, str]:
    return _chart().render(json.loads(values), name=RELEASE, namespace=NAMESPACE)


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Render the chart; return the text of each template by its name."""
    found = _rendered(json.dumps(values))
    return {name.removeprefix("job-gateway/templates/"): text for name, text in found.items()}


def notes(values: Mapping[str, Any]) -> str:
    """Return what Helm prints after an installation."""
    return texts(values)["NOTES.txt"]


def render(values: Mapping[str, Any]) -> list[Manifest]:
    """Render the chart; return its objects."""
    return json.loads(_objects(json.dumps(values)))


@cache  # the YAML is read once, and every caller gets objects of its own
def _objects(values: str) -> str:
    found = [
        manifest
        for name, text in texts(json.loads(values)).items()
        if name != "NOTES.txt"
        for manifest in yaml.load_all(text, _StrictLoader)
        if manifest
    ]
    return json.dumps(found)


def with_least(more: Mapping[str, Any]) -> list[Manifest]:
    """Render the least values with some more."""
    return render(merged(LEAST, more))


def refusal(values: Mapping[str, Any]) -> str:
    """Return the sentence with which Helm refuses the values; fail if it takes them."""
    with pytest.raises(helm.HelmError) as error:
        texts(values)
    return str(error.value)


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the object of that kind whose name is the chart's with this suffix."""
    wanted = f"{NAME}-{name}" if name else NAME
    (found,) = (
        one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == wanted
    )
    return found


def kinds(manifests: list[Manifest]) -> set[str]:
    """Return the kinds of the objects."""
    return {one["kind"] for one in manifests}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the pods of all Deployments, Jobs and of the test, by component."""
    templates = [one["spec"]["template"] for one in manifests if "template" in one.get("spec", {})]
    templates += [one for one in manifests if one["kind"] == "Pod"]
    return {one["spec"]["containers"][0]["name"]: one for one in templates}


def container(manifests: list[Manifest], component: str) -> Manifest:
    """Return the gateway's container in the pod of a component."""
    return pods(manifests)[component]["spec"]["containers"][0]


def environment(manifests: list[Manifest], component: str) -> dict[str, Any]:
    """Return the variables of a container by name, each with its value or its source."""
    variables = container(manifests, component).get("env", [])
    found = {one["name"]: one.get("value", one.get("valueFrom")) for one in variables}
    assert len(found) == len(variables), "a variable is set twice"
    return found
