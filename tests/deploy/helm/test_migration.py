"""The migration of the Helm chart: before new pods start, and with all that it needs."""

from typing import Any

import pytest

from gateway.settings import PREFIX
from tests.deploy.helm.chart import (
    CASES,
    LEAST,
    NAME,
    Manifest,
    container,
    environment,
    find,
    kinds,
    merged,
    pods,
    render,
    values_of,
    with_least,
)

HOOKED = [case for case in CASES if case != "kustomize"]


def _hook(manifest: Manifest) -> dict[str, str]:
    annotations = manifest["metadata"].get("annotations", {})
    found = {key: value for key, value in annotations.items() if key.startswith("helm.sh/hook")}
    return {key.removeprefix("helm.sh/"): value for key, value in found.items()}


def _hooks(manifests: list[Manifest]) -> list[Manifest]:
    return [one for one in manifests if _hook(one).get("hook") == "pre-install,pre-upgrade"]


@pytest.mark.parametrize("case", HOOKED)
def test_it_runs_before_installation_and_upgrade(case: str) -> None:
    job = find(render(values_of(case)), "Job", "migrate")
    assert _hook(job) == {
        "hook": "pre-install,pre-upgrade",
        "hook-weight": "0",
        "hook-delete-policy": "before-hook-creation",  # so its log can be read afterwards
    }
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("case", HOOKED)
def test_what_it_needs_is_there_before_it(case: str) -> None:
    """Helm makes the other objects of the chart only after the hooks."""
    hooks = _hooks(render(values_of(case)))
    job = next(one for one in hooks if one["kind"] == "Job")
    helpers = [one for one in hooks if one["kind"] != "Job"]
    for one in helpers:
        assert int(_hook(one)["hook-weight"]) < int(_hook(job)["hook-weight"])
        assert _hook(one)["hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    pod = job["spec"]["template"]["spec"]
    there = {(one["kind"], one["metadata"]["name"]) for one in helpers}
    if pod["serviceAccountName"] != "default":
        assert ("ServiceAccount", pod["serviceAccountName"]) in there
    for source in environment(hooks, "migrate").values():
        if isinstance(source, dict) and source["secretKeyRef"]["name"].startswith(NAME):
            assert ("Secret", source["secretKeyRef"]["name"]) in there
    assert "envFrom" not in pod["containers"][0]


def test_it_gets_only_the_addresses_of_postgres() -> None:
    manifests = render(values_of("minimal"))
    assert set(environment(manifests, "migrate")) == {"GATEWAY_DATABASE_URL"}
    assert set(find(manifests, "Secret", "migrate")["data"]) == {"GATEWAY_DATABASE_URL"}


def test_only_it_goes_past_the_pooler() -> None:
    manifests = render(values_of("pgbouncer"))
    name = f"{PREFIX}MIGRATION_DATABASE_URL"
    assert environment(manifests, "migrate")[name] == {
        "secretKeyRef": {"name": "gateway-db-app", "key": "uri"}
    }
    for component in ("api", "worker"):
        assert name not in environment(manifests, component)


def test_it_waits_for_postgres() -> None:
    for seconds in (0, 60, 600):
        manifests = with_least({"migration": {"waitSeconds": seconds}})
        assert container(manifests, "migrate")["args"] == ["db", "upgrade", "--wait", str(seconds)]


def test_it_may_reach_postgres_before_the_other_policies_exist() -> None:
    policy = find(render(values_of("network-policy")), "NetworkPolicy", "migrate")
    assert policy in _hooks(render(values_of("network-policy")))
    ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 5432]


def test_the_proxy_to_postgres_runs_beside_it() -> None:
    pod = pods(render(values_of("cloud-sql")))["migrate"]["spec"]
    assert pod["initContainers"][0]["restartPolicy"] == "Always"
    annotations = find(render(values_of("cloud-sql")), "ServiceAccount", "migrate")["metadata"]["annotations"]  # fmt: skip
    assert "iam.gke.io/gcp-service-account" in annotations


def _plain(more: dict[str, Any]) -> Manifest:
    values = merged(merged(LEAST, {"migration": {"hook": False}}), more)
    (job,) = (one for one in render(values) if one["kind"] == "Job")
    return job


def test_without_hooks_a_new_image_makes_a_new_job() -> None:
    """A Job cannot be changed, so `kubectl apply` would fail at the second version."""
    names = [
        _plain(more)["metadata"]["name"]
        for more in ({}, {"image": {"tag": "2"}}, {"api": {"replicas": 9}})
    ]
    assert names[0] != names[1]
    assert names[0] == names[2]
    assert _hook(_plain({})) == {}


def test_without_hooks_it_takes_the_objects_of_the_chart() -> None:
    manifests = render(values_of("kustomize"))
    assert _hooks(manifests) == []
    assert pods(manifests)["migrate"]["spec"]["serviceAccountName"] == NAME
    data = find(manifests, "Secret", "")["data"]
    for variable, source in environment(manifests, "migrate").items():
        assert source == {"secretKeyRef": {"name": NAME, "key": variable}}
        assert variable in data


def test_it_can_be_left_out() -> None:
    manifests = with_least({"migration": {"enabled": False}, "networkPolicy": {"enabled": True}})
    assert "Job" not in kinds(manifests)
    assert _hooks(manifests) == []
