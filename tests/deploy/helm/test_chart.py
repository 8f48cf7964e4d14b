"""The Helm chart renders what Kubernetes takes, for every value file in its folder `ci`."""

import json
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.version import Version

from gateway import __version__
from tests.deploy.helm import chart_files
from tests.deploy.helm.chart import (
    CASES,
    CHART,
    LEAST,
    Manifest,
    helm,
    merged,
    refusal,
    render,
    values_of,
)

kubernetes = pytest.importorskip(
    "kubernetes_validate", reason="The schemas of Kubernetes are not installed: make deploy-tools"
)
# The oldest one that Chart.yaml allows, and the newest three of which the schemas are installed.
OLDEST = "1.29"
VERSIONS = (
    OLDEST,
    *sorted({one.rpartition(".")[0] for one in kubernetes.utils.all_versions()}, key=Version)[-3:],
)
OTHERS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "crd_schemas.yaml").read_text())[
    "kinds"
]


def test_the_chart_has_the_version_of_the_gateway() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"


def test_there_are_values_for_many_kinds_of_installation() -> None:
    assert len(CASES) >= 12
    assert len(set(VERSIONS)) == 4


@pytest.mark.parametrize("case", CASES)
def test_lint_finds_no_fault(case: str) -> None:
    report = helm.lint(CHART, values_of(case), strict=True)
    warnings = [one for one in report["messages"] if one["severity"] > 1]  # 1 is for hints
    assert (report["errors"], warnings) == ([], [])


@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_every_object(case: str) -> None:
    manifests = render(values_of(case))
    assert len(manifests) > 5
    for manifest in manifests:
        _validate(json.dumps(manifest))


@cache  # most objects are the same in all cases
def _validate(text: str) -> None:
    manifest = json.loads(text)
    if manifest["kind"] in OTHERS:
        jsonschema.validate(manifest, OTHERS[manifest["kind"]])
        return
    for version in VERSIONS:
        kubernetes.validate(manifest, version, strict=True)


@pytest.fixture(autouse=True, scope="module")
def _schemas_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes.utils, "schema_contents", cache(kubernetes.utils.schema_contents))
        yield


def test_the_schemas_refuse_what_is_misspelt() -> None:
    manifests = {one["kind"]: one for case in CASES for one in render(values_of(case))}
    assert set(OTHERS) <= set(manifests)
    for manifest in manifests.values():
        where = "spec" if "spec" in manifest else "metadata"
        wrong = {**manifest, where: {**manifest[where], "misspelt": 1}}
        with pytest.raises(jsonschema.ValidationError):
            _validate(json.dumps(wrong))


@pytest.mark.parametrize("case", CASES)
def test_every_object_has_its_own_name_and_says_where_it_belongs(case: str) -> None:
    manifests = render(values_of(case))
    names = [_name(one) for one in manifests]
    assert len(set(names)) == len(names)
    for one in manifests:
        assert len(one["metadata"]["name"]) <= 63
        if "namespace" in one["metadata"]:  # an extra object may leave it to Helm
            assert one["metadata"]["namespace"] == "prod"


def _name(one: Manifest) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def test_names_stay_short_enough_with_the_longest_names() -> None:
    more = {
        "fullnameOverride": "a" * 63,
        "migration": {"hook": False},
        "metrics": {"serviceMonitor": {"enabled": True}},
    }
    names = [_name(one) for one in render(merged(LEAST, more))]
    assert max(len(name) for _, name in names) == len("a" * 46 + "-migrate-12345678")
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("release", "more", "expected"),
    [
        ("jobs", {}, "jobs-job-gateway"),
        ("job-gateway", {}, "job-gateway"),
        ("jobs", {"nameOverride": "gw"}, "jobs-gw"),
        ("jobs", {"fullnameOverride": "gw"}, "gw"),
    ],
)
def test_names_begin_with_the_release(release: str, more: dict[str, Any], expected: str) -> None:
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(merged(LEAST, more), name=release, namespace="prod")
    service = yaml.safe_load(texts["job-gateway/templates/access/service.yaml"])
    assert service["metadata"]["name"] == expected


def test_the_same_values_make_the_same_objects() -> None:
    """kustomize and Argo CD render again and again; a random value would replace pods each time."""
    values = values_of("kustomize")
    first = render(values)
    with helm.Chart.load(CHART) as other:
        texts = other.render(values, name="jobs", namespace="prod", is_upgrade=True, revision=7)
    again = [
        manifest
        for name, text in texts.items()
        if not name.endswith("NOTES.txt")
        for manifest in yaml.safe_load_all(text)
        if manifest
    ]
    assert again == first


def test_the_package_has_what_an_installation_needs(tmp_path: Path) -> None:
    archive = helm.package(CHART, destination=tmp_path)
    with tarfile.open(archive) as package:
        names = {name.removeprefix("job-gateway/") for name in package.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md"} <= names
    assert {"files/alerts.yaml", "templates/NOTES.txt", "templates/tests/ready.yaml"} <= names
    assert [name for name in names if name.startswith("ci/")] == []


def test_the_readme_has_the_table_of_values() -> None:
    assert chart_files.README.read_text() == chart_files.readme(), "run: make chart"


def test_every_value_is_explained() -> None:
    found = list(chart_files.values())
    assert len(found) > 150
    assert [one.name for one in found if not one.comment and not one.is_group] == []
    assert [one.name for one in found if one.comment and one.comment[-1] != "."] == []


def test_the_schema_has_the_settings_of_the_gateway() -> None:
    schema = json.loads(chart_files.SCHEMA.read_text())
    assert schema == chart_files.schema(), "run: make chart"


def test_the_schema_knows_every_value() -> None:
    schema = json.loads(chart_files.SCHEMA.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    for value in chart_files.values():
        _property(schema, value.name)


def _property(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found = schema
    for part in name.split("."):
        found = _resolved(schema, found["properties"][part])
    return found


def _resolved(schema: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    name = one.get("$ref", "").removeprefix("#/definitions/")
    return schema["definitions"][name] if name else one


def test_the_schema_is_strict() -> None:
    """Every map names its keys, or says which values it takes for any key, or goes to Kubernetes as it is."""
    schema = json.loads(chart_files.SCHEMA.read_text())
    free = schema["definitions"]["anything"]
    for one in _maps(schema):
        is_strict = one.get("additionalProperties") is False and one["properties"] != {}
        is_typed = isinstance(one.get("additionalProperties"), dict)
        passed_on = one == free or set(one) <= {"type", "description"}
        assert is_strict or is_typed or passed_on, one


def _maps(schema: Any) -> list[dict[str, Any]]:
    below = schema.values() if isinstance(schema, dict) else schema
    found = [one for each in below if isinstance(each, dict | list) for one in _maps(each)]
    return (
        [*found, schema] if isinstance(schema, dict) and schema.get("type") == "object" else found
    )


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"replicas": 3}, "replicas"),
        ({"api": {"replica": 3}}, "replica"),
        ({"worker": {"pdb": {"minAvailabel": 1}}}, "minAvailabel"),
        ({"config": {"GATEWAY_DELIVER_CONCURENCY": 10}}, "GATEWAY_DELIVER_CONCURENCY"),
        ({"secrets": {"databaseURL": {"value": "x"}}}, "databaseURL"),
        ({"api": {"replicas": "3"}}, "/api/replicas"),
        ({"ingress": {"enabled": "false"}}, "/ingress/enabled"),
        ({"config": {"GATEWAY_LOG_LEVEL": "loud"}}, "/config/GATEWAY_LOG_LEVEL"),
        ({"config": {"GATEWAY_DATABASE_POOL": 1}}, "/config/GATEWAY_DATABASE_POOL"),
        ({"config": {"GATEWAY_MASTER_KEY": "x"}}, "GATEWAY_MASTER_KEY"),
        ({"config": {"GATEWAY_PORT": 80}}, "GATEWAY_PORT"),
        ({"podAnnotations": {"a": True}}, "/podAnnotations/a"),
        (
            {"commonLabels": {"app.kubernetes.io/name": "x"}},
            "/commonLabels/app.kubernetes.io~1name",
        ),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"ingress": {"paths": ["v1"]}}, "/ingress/paths"),
        ({"keda": {"minReplicas": 0}}, "/keda/minReplicas"),
        ({"extraEnv": [{"name": "A", "valueFor": "b"}]}, "valueFor"),
    ],
    ids=str,
)
def test_misspelt_and_wrong_values_are_refused(more: dict[str, Any], where: str) -> None:
    assert where in refusal(merged(LEAST, more))
