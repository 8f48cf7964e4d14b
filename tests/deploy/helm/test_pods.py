"""The pods of the Helm chart: environment, secrets, probes, rights, and time to stop."""

import base64
import json
import math
import os
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.cli import cli
from gateway.settings import PREFIX, SECRETS, Settings, load_settings
from gateway.web.routes import health
from tests.deploy.helm.chart import (
    CASES,
    NAME,
    Manifest,
    container,
    environment,
    find,
    pods,
    render,
    values_of,
    with_least,
)

PROCESSES = ("api", "worker")
MASTER_KEY = base64.b64encode(bytes(32)).decode()
SECRET_VALUES = {
    "DATABASE_URL": "postgresql://gateway:hunter2@postgres:5432/gateway",
    "MIGRATION_DATABASE_URL": "postgresql://gateway:hunter2@primary:5432/gateway",
    "READ_DATABASE_URL": "postgresql://gateway:hunter2@standby:5432/gateway",
    "REDIS_URL": "redis://:hunter3@valkey:6379/0",
    "MASTER_KEY": MASTER_KEY,
    "EGRESS_PROXY": "http://proxy:3128",
}


@pytest.mark.parametrize("case", CASES)
def test_every_variable_is_a_setting(case: str) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{PREFIX}{name}_FILE" for name in SECRETS}
    manifests = render(values_of(case))
    names = {name for one in pods(manifests) for name in environment(manifests, one)}
    names |= {name for one in manifests if one["kind"] == "ConfigMap" for name in one["data"]}
    assert {name for name in names if name.startswith(PREFIX)} <= known


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("component", PROCESSES)
def test_the_environment_makes_valid_settings(
    case: str, component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render(values_of(case))
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in _given(manifests, component).items():
        secret = name.removeprefix(PREFIX).removesuffix("_FILE")
        if secret in SECRETS and name.endswith("_FILE"):
            file = tmp_path / secret
            file.write_text(SECRET_VALUES[secret] + "\n")
            monkeypatch.setenv(name, str(file))
        else:
            monkeypatch.setenv(name, SECRET_VALUES[secret] if secret in SECRETS else value)
    settings = load_settings()
    assert settings.env == ("dev" if case == "dev" else "production")
    ports = {one["name"]: one["containerPort"] for one in container(manifests, component)["ports"]}
    expected = {"metrics": settings.worker_port}
    if component == "api":
        expected = {"http": settings.port, "metrics": settings.metrics_port}
        expected |= {"pages": settings.console_port} if settings.console_port else {}
    assert ports == expected
    assert not settings.share_port


def _given(manifests: list[Manifest], component: str) -> dict[str, Any]:
    """The gateway's variables of a container: those of the ConfigMap, and its own over them."""
    found: dict[str, Any] = {}
    for source in container(manifests, component).get("envFrom", []):
        assert source == {"configMapRef": {"name": NAME}}
        found |= find(manifests, "ConfigMap", "")["data"]
    found |= environment(manifests, component)
    return {name: value for name, value in found.items() if name.startswith(PREFIX)}


def test_large_and_broken_numbers_stay_as_they_are() -> None:
    config = {
        "GATEWAY_MAX_BODY_BYTES": 67108864,
        "GATEWAY_POLL_BUDGET": 0.15,
        "GATEWAY_KEEP_JOBS_DAYS": 0,
        "GATEWAY_CALLBACK_PORTS": 443,
        "GATEWAY_DELIVERY_DELAYS": "5,300",
    }
    assert find(with_least({"config": config}), "ConfigMap", "")["data"] == {
        name: str(value) for name, value in config.items()
    }


def test_the_commands_exist() -> None:
    manifests = render(values_of("minimal"))
    # The entry point of the image stays.
    assert not any("command" in container(manifests, one) for one in pods(manifests))
    commands = {one: container(manifests, one)["args"] for one in pods(manifests)}
    assert {"api": ["serve"], "worker": ["worker"]}.items() <= commands.items()
    for args in commands.values():
        _parse(args)


def _parse(args: list[str]) -> None:
    """Resolve the command and parse its options, without running it."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, found, args = command.resolve_command(click.Context(command), args)
        assert found is not None, name
        command = found
    assert command.make_context(command.name, list(args)).args == []


def test_secret_values_are_only_in_secrets() -> None:
    for case in ("minimal", "kustomize"):
        manifests = render(values_of(case))
        texts = {one["kind"]: json.dumps(one) for one in manifests if one["kind"] != "Secret"}
        for text in texts.values():
            for value in ("hunter2", "hunter3", MASTER_KEY, base64.b64encode(b"hunter")[:8]):
                assert str(value) not in text
        data = find(manifests, "Secret", "")["data"]
        assert base64.b64decode(data["GATEWAY_MASTER_KEY"]).decode() == MASTER_KEY
        assert b"hunter2" in base64.b64decode(data["GATEWAY_DATABASE_URL"])


@pytest.mark.parametrize("case", CASES)
def test_every_secret_comes_from_one_place(case: str) -> None:
    manifests = render(values_of(case))
    made = {
        one["metadata"]["name"]: set(one["data"]) for one in manifests if one["kind"] == "Secret"
    }
    for component in PROCESSES:
        variables = environment(manifests, component)
        for secret in ("DATABASE_URL", "REDIS_URL", "MASTER_KEY"):
            names = {f"{PREFIX}{secret}", f"{PREFIX}{secret}_FILE"} & set(variables)
            assert len(names) == 1, secret
        for source in variables.values():
            if isinstance(source, dict) and source["secretKeyRef"]["name"].startswith(NAME):
                assert source["secretKeyRef"]["key"] in made[source["secretKeyRef"]["name"]]


def test_an_existing_secret_makes_the_chart_make_none() -> None:
    manifests = render(values_of("existing-secret"))
    assert [one for one in manifests if one["kind"] == "Secret"] == []
    assert environment(manifests, "api")["GATEWAY_MASTER_KEY"] == {
        "secretKeyRef": {"name": "gateway", "key": "GATEWAY_MASTER_KEY"}
    }


def test_secrets_as_files_are_not_in_the_environment() -> None:
    manifests = render(values_of("secret-files"))
    for component in PROCESSES:
        variables = environment(manifests, component)
        assert all(isinstance(value, str) for value in variables.values())
        paths = {
            value
            for name, value in variables.items()
            if name.endswith("_FILE") and value.startswith("/run/secrets/job-gateway/")
        }
        (volume,) = pods(manifests)[component]["spec"]["volumes"]
        items = [one["secret"]["items"][0]["path"] for one in volume["projected"]["sources"]]
        assert paths == {f"/run/secrets/job-gateway/{item}" for item in items}
        assert len(paths) == 3
        assert variables["GATEWAY_MASTER_KEY_FILE"] == "/vault/secrets/master-key"
        (mount,) = container(manifests, component)["volumeMounts"]
        assert mount == {"name": "secrets", "mountPath": "/run/secrets/job-gateway", "readOnly": True}  # fmt: skip
        assert volume["projected"]["defaultMode"] == 0o440


def test_secrets_can_have_other_keys() -> None:
    variables = environment(render(values_of("pgbouncer")), "worker")
    assert variables["GATEWAY_DATABASE_URL"] == {
        "secretKeyRef": {"name": "gateway-pooler", "key": "uri"}
    }
    assert variables["PGSSLROOTCERT"] == "/etc/postgres-ca/ca.crt"


@pytest.mark.parametrize("case", CASES)
def test_probes_ask_what_the_process_answers(case: str) -> None:
    paths = {path for one in (health.live, health.ready) for path in one.paths}
    manifests = render(values_of(case))
    for component in PROCESSES:
        found = container(manifests, component)
        probes = {name: found[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}  # fmt: skip
        assert {one["path"] for one in probes.values()} == paths
        assert probes["readiness"]["path"] == "/health/ready"
        assert probes["liveness"] == probes["startup"]
        ports = {one["name"] for one in found["ports"]}
        assert {one["port"] for one in probes.values()} <= ports


def test_readiness_waits_longer_than_the_process_takes_to_answer() -> None:
    """Without Postgres the answer, with the cause, takes up to two seconds."""
    manifests = with_least({})
    for component in PROCESSES:
        assert container(manifests, component)["readinessProbe"]["timeoutSeconds"] > 2


@pytest.mark.parametrize("case", CASES)
def test_a_process_has_the_time_to_finish(case: str) -> None:
    manifests = render(values_of(case))
    defaults = Settings.model_fields
    config = values_of(case).get("config", {})
    drain = sum(
        config.get(f"{PREFIX}{name.upper()}", defaults[name].default)
        for name in ("drain_seconds", "drain_delay_seconds")
    )
    for component in PROCESSES:
        grace = pods(manifests)[component]["spec"]["terminationGracePeriodSeconds"]
        assert grace == math.ceil(drain) + 5


@pytest.mark.parametrize("case", CASES)
def test_pods_have_no_more_rights_than_they_need(case: str) -> None:
    """These are the demands of the Pod Security Standard `restricted`, and a read-only root."""
    for pod in pods(render(values_of(case))).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        found = spec["containers"][0]
        assert found["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} == set(found["resources"])
        assert "memory" in found["resources"]["limits"]


def test_the_user_is_that_of_the_image() -> None:
    dockerfile = (Path(__file__).parents[3] / "Dockerfile").read_text()
    assert "\nUSER 10001:10001\n" in dockerfile


def test_a_context_can_be_left_to_the_cluster() -> None:
    """OpenShift gives each namespace its own user ids."""
    none = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    spec = pods(with_least({"podSecurityContext": none}))["api"]["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _annotations(more: dict[str, Any]) -> dict[str, str]:
    return pods(with_least(more))["worker"]["metadata"]["annotations"]


def test_a_changed_setting_replaces_the_pods() -> None:
    before = _annotations({})
    after = _annotations({"config": {"GATEWAY_LOG_LEVEL": "debug"}})
    assert before["checksum/config"] != after["checksum/config"]
    assert before["checksum/secret"] == after["checksum/secret"]


def test_a_changed_secret_replaces_the_pods() -> None:
    values = values_of("minimal")
    before = pods(render(values))["api"]["metadata"]["annotations"]
    values["secrets"]["redisUrl"]["value"] = "redis://other:6379/0"
    after = pods(render(values))["api"]["metadata"]["annotations"]
    assert before["checksum/secret"] != after["checksum/secret"]
    assert before["checksum/config"] == after["checksum/config"]


def test_what_pods_do_not_read_leaves_them_alone() -> None:
    more = {"ingress": {"enabled": True, "hosts": ["gateway.example.com"]}, "service": {"port": 81}}
    before, after = with_least({}), with_least(more)
    assert find(before, "Deployment", "api") == find(after, "Deployment", "api")


def test_selectors_never_change() -> None:
    """The selector of a Deployment is immutable: whatever is set, an upgrade must not touch it."""
    more = {"commonLabels": {"a": "b"}, "podLabels": {"c": "d"}, "image": {"tag": "9"}}
    for manifests in (with_least({}), with_least(more)):
        for component in PROCESSES:
            spec = find(manifests, "Deployment", component)["spec"]
            assert spec["selector"]["matchLabels"] == {
                "app.kubernetes.io/name": "job-gateway",
                "app.kubernetes.io/instance": "jobs",
                "app.kubernetes.io/component": component,
            }
            labels = spec["template"]["metadata"]["labels"]
            assert spec["selector"]["matchLabels"].items() <= labels.items()
            assert "helm.sh/chart" not in labels  # it changes with each version


def test_an_update_keeps_every_pod_until_its_successor_is_ready() -> None:
    for component in PROCESSES:
        strategy = find(with_least({}), "Deployment", component)["spec"]["strategy"]
        assert strategy == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }
    recreate = with_least({"worker": {"strategy": {"type": "Recreate"}}})
    assert find(recreate, "Deployment", "worker")["spec"]["strategy"] == {"type": "Recreate"}


def test_pods_are_spread_over_zones_and_nodes() -> None:
    (zones, nodes) = pods(with_least({}))["api"]["spec"]["topologySpreadConstraints"]
    assert (zones["topologyKey"], nodes["topologyKey"]) == (
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    )
    assert zones["whenUnsatisfiable"] == "ScheduleAnyway"
    (own,) = pods(render(values_of("ha")))["api"]["spec"]["topologySpreadConstraints"]
    assert own["whenUnsatisfiable"] == "DoNotSchedule"
    labels = find(with_least({}), "Deployment", "api")["spec"]["selector"]["matchLabels"]
    assert own["labelSelector"]["matchLabels"] == labels == zones["labelSelector"]["matchLabels"]


def test_a_component_can_be_placed_on_other_nodes() -> None:
    manifests = render(values_of("ha"))
    api, worker = (pods(manifests)[one]["spec"] for one in PROCESSES)
    assert "nodeSelector" not in api
    assert worker["nodeSelector"] == {"pool": "spot"}
    assert worker["tolerations"][0]["key"] == "spot"
    assert (api["priorityClassName"], worker["priorityClassName"]) == ("business-critical", "batch")


def test_the_image_is_named_by_digest_tag_or_version() -> None:
    image = {"repository": "r.example.com:5000/gateway"}
    digest = f"sha256:{'a' * 64}"
    for more, expected in (
        ({}, ":0.1.0"),
        ({"tag": "7"}, ":7"),
        ({"tag": "7", "digest": digest}, f"@{digest}"),
    ):
        manifests = with_least({"image": {**image, **more}})
        images = {one["spec"]["containers"][0]["image"] for one in pods(manifests).values()}
        assert images == {f"{image['repository']}{expected}"}


def test_the_service_leads_to_the_api() -> None:
    manifests = with_least({})
    spec = find(manifests, "Service", "")["spec"]
    labels = pods(manifests)["api"]["metadata"]["labels"]
    assert spec["selector"].items() <= labels.items()
    assert not spec["selector"].items() <= pods(manifests)["worker"]["metadata"]["labels"].items()
    assert [one["targetPort"] for one in spec["ports"]] == ["http"]  # metrics are not in it
    asks = container(manifests, "test")["args"]
    assert f"http://{NAME}:80" in asks
