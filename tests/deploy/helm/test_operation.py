"""What runs the Helm chart's pods day by day: autoscaling, disruptions, monitoring, notes."""

import re
from typing import Any

import pytest
import yaml

from gateway.exposition import ProcessState, exposition
from gateway.flows.health.overview import Overview
from gateway.store.database import PoolUse
from tests.deploy.helm.chart import (
    CHART,
    LEAST,
    NAME,
    Manifest,
    container,
    find,
    kinds,
    merged,
    notes,
    pods,
    render,
    values_of,
    with_least,
)

COMPONENTS = ("api", "worker")


def _alerts(path: Any) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text())["groups"]


def test_an_autoscaler_alone_decides_the_number_of_pods() -> None:
    for case, scaled in (("hpa", COMPONENTS), ("keda", ("worker",)), ("minimal", ())):
        manifests = render(values_of(case))
        for component in COMPONENTS:
            spec = find(manifests, "Deployment", component)["spec"]
            assert ("replicas" in spec) == (component not in scaled)


def test_the_autoscaler_follows_the_cpu() -> None:
    spec = find(render(values_of("hpa")), "HorizontalPodAutoscaler", "api")["spec"]
    assert spec["scaleTargetRef"]["name"] == f"{NAME}-api"
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 12)
    assert spec["metrics"][0]["resource"]["target"] == {
        "type": "Utilization",
        "averageUtilization": 75,
    }


def test_keda_follows_the_age_of_due_work() -> None:
    parser = pytest.importorskip("promql_parser", reason="no PromQL parser: make deploy-tools")
    spec = find(render(values_of("keda")), "ScaledObject", "worker")["spec"]
    assert spec["scaleTargetRef"]["name"] == f"{NAME}-worker"
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, 40)
    trigger = spec["triggers"][0]
    query = trigger["metadata"]["query"]
    assert parser.parse(query)
    assert set(re.findall(r"gw_\w+", query)) <= _metrics()
    assert 'namespace="prod"' in query  # another gateway's queue is none of this one's business
    assert trigger["metadata"]["threshold"] == "7.5"
    # KEDA falls back only for this type, and only if no value is an error.
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    # Without figures no worker is taken away: there may be more to do than ever.
    assert spec["fallback"] == {
        "failureThreshold": 3,
        "replicas": 4,
        "behavior": "currentReplicasIfHigher",
    }


def _metrics() -> set[str]:
    process = ProcessState(True, True, PoolUse(1, 0, 0), 0.0, 0.0)
    page = exposition(process, Overview({}, [], [], {}, None, None)).decode()
    return set(re.findall(r"^# TYPE (gw_\w+)", page, re.MULTILINE))


def test_keda_is_off_by_default() -> None:
    assert not {"ScaledObject", "HorizontalPodAutoscaler"} & kinds(with_least({}))


def test_a_drain_of_nodes_takes_one_pod_at_a_time() -> None:
    for component in COMPONENTS:
        spec = find(with_least({}), "PodDisruptionBudget", component)["spec"]
        labels = find(with_least({}), "Deployment", component)["spec"]["selector"]["matchLabels"]
        assert spec == {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels},
        }
    own = find(render(values_of("ha")), "PodDisruptionBudget", "api")["spec"]
    assert own["minAvailable"] == 2
    assert "maxUnavailable" not in own
    none = {"api": {"pdb": {"minAvailable": 0, "maxUnavailable": ""}}}
    assert find(with_least(none), "PodDisruptionBudget", "api")["spec"]["minAvailable"] == 0
    assert "PodDisruptionBudget" not in kinds(render(values_of("dev")))


def _selected(monitor: Manifest, labels: dict[str, str]) -> bool:
    return monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_pod_monitors_scrape_api_and_workers() -> None:
    manifests = render(values_of("monitoring"))
    for component in COMPONENTS:
        monitor = find(manifests, "PodMonitor", component)
        found = pods(manifests)
        selected = [one for one in found if _selected(monitor, found[one]["metadata"]["labels"])]
        assert selected == [component]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["path"] == "/metrics"
        ports = {one["name"] for one in container(manifests, component)["ports"]}
        assert endpoint["port"] in ports
        assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("15s", "10s")
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_service_monitors_scrape_through_services_of_their_own() -> None:
    manifests = render(values_of("hpa"))
    services = [one for one in manifests if one["kind"] == "Service"]
    for component in COMPONENTS:
        monitor = find(manifests, "ServiceMonitor", component)
        (service,) = (one for one in services if _selected(monitor, one["metadata"]["labels"]))
        # Unready pods are scraped too: they are the ones that say why.
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert service["spec"]["clusterIP"] == "None"
        labels = pods(manifests)[component]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_chart_has_the_alerts_of_the_gateway() -> None:
    source = CHART.parents[1] / "monitoring/alerts.yaml"
    rules = {"metrics": {"prometheusRule": {"enabled": True}}}
    spec = find(with_least(rules), "PrometheusRule", "")["spec"]
    assert spec["groups"] == _alerts(source)


def test_alerts_can_be_left_out_and_labelled() -> None:
    found = find(render(values_of("monitoring")), "PrometheusRule", "")
    (*groups, own) = found["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    everything = [rule for group in _alerts(CHART / "files/alerts.yaml") for rule in group["rules"]]
    assert [rule.get("alert") for rule in rules] == [
        rule.get("alert") for rule in everything if rule.get("alert") != "GatewayRedisAway"
    ]
    assert len(rules) == len(everything) - 1
    for rule in rules:  # a label of a recorded series would change what alerts see
        assert ("team" in rule.get("labels", {})) == ("alert" in rule)
    assert own["name"] == "own"


def test_a_group_without_alerts_is_left_out() -> None:
    names = [r["alert"] for g in _alerts(CHART / "files/alerts.yaml") for r in g["rules"] if "alert" in r]  # fmt: skip
    extra = [{"name": "own", "rules": [{"alert": "A", "expr": "vector(1)"}]}]
    rule = {"enabled": True, "disabled": names, "extraGroups": extra}
    spec = find(with_least({"metrics": {"prometheusRule": rule}}), "PrometheusRule", "")["spec"]
    assert [one["name"] for one in spec["groups"] if any("alert" in r for r in one["rules"])] == ["own"]  # fmt: skip


def test_the_notes_name_the_next_two_commands() -> None:
    said = notes(values_of("minimal"))
    assert "\n1. " in said
    assert "\n2. " in said
    assert "\n3. " not in said
    assert "helm test jobs --namespace prod\n" in said
    assert (
        f"kubectl exec --namespace prod deploy/{NAME}-api -- "
        "gateway key create --operator --name first\n"
    ) in said
    assert "WARNING" not in said
    assert "hunter" not in said


@pytest.mark.parametrize(
    ("case", "connections"), [("minimal", 40), ("ha", 72), ("keda", 420), ("hpa", 220)]
)
def test_the_notes_count_the_connections_to_postgres(case: str, connections: int) -> None:
    assert f"up to {connections} connections" in notes(values_of(case))


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"service": {"type": "LoadBalancer"}}, "service.type=LoadBalancer opens every path"),
        ({"ingress": {"enabled": True, "hosts": ["a.example"]}}, "ingress.tls is empty"),
        (
            {"httpRoute": {"enabled": True, "admin": True, "parentRefs": [{"name": "a"}]}},
            "/admin is open to the outside",
        ),
        ({"migration": {"enabled": False}}, "No pod becomes ready until you have run `gateway db"),
    ],
    ids=str,
)
def test_the_notes_warn(more: dict[str, Any], warning: str) -> None:
    assert warning in notes(merged(LEAST, more))


def test_extra_objects_are_templates() -> None:
    manifests = render(values_of("gateway-api"))
    route = find(manifests, "HTTPRoute", "operators")
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": NAME, "port": 80}]
