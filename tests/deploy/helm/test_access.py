"""Who reaches what in the Helm chart: Ingress, HTTPRoute and NetworkPolicy."""

import json
from typing import Any

from litestar import Router

from gateway.settings import Settings
from gateway.web.route_table import OPEN, OPERATOR, TENANT, flat
from tests.deploy.helm.chart import (
    NAME,
    Manifest,
    container,
    environment,
    find,
    kinds,
    merged,
    render,
    values_of,
    with_least,
)

INGRESS = {"ingress": {"enabled": True, "hosts": ["gateway.example.com"]}}
ROUTE = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}


def _open_of_ingress(manifests: list[Manifest]) -> dict[str, str]:
    (rule,) = find(manifests, "Ingress", "")["spec"]["rules"]
    return {one["path"]: one["pathType"] for one in rule["http"]["paths"]}


def _open_of_route(manifests: list[Manifest]) -> dict[str, str]:
    (rule,) = find(manifests, "HTTPRoute", "")["spec"]["rules"]
    return {one["path"]["value"]: one["path"]["type"] for one in rule["matches"]}


def _reached(opened: dict[str, str], path: str) -> bool:
    return any(
        path == one if kind == "Exact" else path == one or path.startswith(f"{one}/")
        for one, kind in opened.items()
    )


def _paths(prefix: str, groups: Any) -> set[str]:
    return {route.path for route in Router(prefix, route_handlers=flat(groups)).routes}


def test_callers_reach_what_is_theirs_and_nothing_of_operators() -> None:
    for opened in (_open_of_ingress(with_least(INGRESS)), _open_of_route(with_least(ROUTE))):
        theirs = _paths("/v1", TENANT) | _paths("/api", TENANT) | {"/", "/docs", "/schema/openapi.json"}  # fmt: skip
        theirs |= {one for one in _paths("/", OPEN) if "well-known" in one and "/v1" not in one}
        assert len(theirs) > 50
        assert [path for path in theirs if not _reached(opened, path)] == []
        closed = {*_paths("/admin/v1", OPERATOR), "/metrics", "/health/ready", "/health/live"}
        assert [path for path in closed if _reached(opened, path)] == []


def test_only_the_root_itself_is_open() -> None:
    """A prefix of / would open everything."""
    assert _open_of_ingress(with_least(INGRESS))["/"] == "Exact"
    assert _open_of_route(with_least(ROUTE))["/"] == "Exact"


def test_admin_is_opened_only_if_it_is_asked_for() -> None:
    ingress = merged(INGRESS, {"ingress": {"admin": True}})
    route = merged(ROUTE, {"httpRoute": {"admin": True}})
    for opened in (_open_of_ingress(with_least(ingress)), _open_of_route(with_least(route))):
        assert _reached(opened, "/admin/v1/tenant")
        assert not _reached(opened, "/metrics")


def test_every_host_leads_to_the_service() -> None:
    hosts = ["a.example.com", "b.example.com"]
    spec = find(with_least({"ingress": {"enabled": True, "hosts": hosts}}), "Ingress", "")["spec"]
    assert [one["host"] for one in spec["rules"]] == hosts
    backends = [one["backend"] for rule in spec["rules"] for one in rule["http"]["paths"]]
    assert all(
        one == {"service": {"name": NAME, "port": {"name": "http"}}} for one in backends
    )  # fmt: skip
    rule = find(with_least(ROUTE | {"service": {"port": 8080}}), "HTTPRoute", "")["spec"]["rules"][
        0
    ]
    assert rule["backendRefs"] == [{"name": NAME, "port": 8080}]


def test_nothing_is_open_by_default() -> None:
    manifests = with_least({})
    assert not {"Ingress", "HTTPRoute", "NetworkPolicy"} & kinds(manifests)
    assert find(manifests, "Service", "")["spec"]["type"] == "ClusterIP"


def _policy(manifests: list[Manifest], component: str) -> dict[str, Any]:
    return find(manifests, "NetworkPolicy", component)["spec"]


def _ports(rules: list[dict[str, Any]]) -> list[list[Any]]:
    return [sorted({port["port"] for port in rule["ports"]}) for rule in rules]


def test_the_api_may_be_called_by_its_clients_and_scraped() -> None:
    policy = _policy(render(values_of("network-policy")), "api")
    assert _ports(policy["ingress"]) == [["http"], ["metrics"]]
    calls, scrapes = policy["ingress"]
    assert "ingress-nginx" in json.dumps(calls["from"])
    assert "test" in json.dumps(calls["from"])  # the pod of `helm test`
    assert "monitoring" in json.dumps(scrapes["from"])


def test_nobody_calls_a_worker() -> None:
    policy = _policy(render(values_of("network-policy")), "worker")
    assert _ports(policy["ingress"]) == [["metrics"]]


def test_each_process_reaches_what_it_needs_and_no_more() -> None:
    """The API calls receivers too, with the sample events of `POST /v1/endpoint/{id}/test`."""
    manifests = render(values_of("network-policy"))
    for component in ("api", "worker"):
        rules = _policy(manifests, component)["egress"]
        assert _ports(rules) == [[53], [5432], [6379, 26379], [443], [443, 8443, 9443]]
        assert {"ipBlock": {"cidr": "10.20.0.0/16"}} in rules[-1]["to"]
        assert {"ipBlock": {"cidr": "fd00:20::/64"}} in rules[-1]["to"]
        for rule in rules:
            assert rule["to"] != []
    assert _ports(_policy(manifests, "migrate")["egress"]) == [[53], [5432]]


def test_receivers_have_the_default_ports_of_the_gateway() -> None:
    worker = _policy(with_least({"networkPolicy": {"enabled": True}}), "worker")["egress"]
    assert _ports(worker)[-1] == sorted(Settings.model_fields["callback_ports"].default)
    private = [one for block in worker[-1]["to"] for one in block["ipBlock"]["except"]]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(private)
    assert {"fc00::/7", "fe80::/10"} <= set(private)


def test_with_a_proxy_no_pod_reaches_a_receiver_directly() -> None:
    for component in ("api", "worker"):
        rules = _policy(render(values_of("egress-proxy")), component)["egress"]
        assert _ports(rules) == [[53], [5432], [6379], [443], [3128]]
        assert rules[-1]["to"] == [{"ipBlock": {"cidr": "10.0.7.4/32"}}]


def test_policies_select_the_pods_of_their_component() -> None:
    manifests = render(values_of("network-policy"))
    for component in ("api", "worker"):
        labels = find(manifests, "Deployment", component)["spec"]["selector"]["matchLabels"]
        assert _policy(manifests, component)["podSelector"]["matchLabels"] == labels
        assert _policy(manifests, component)["policyTypes"] == ["Ingress", "Egress"]


def test_pages_may_have_a_port_and_a_service_of_their_own() -> None:
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    policy = {"enabled": True, "visitors": peers}
    apart = with_least({"pages": {"separate": True, "port": 8080}, "networkPolicy": policy})
    assert environment(apart, "api")["GATEWAY_CONSOLE_PORT"] == "8001"
    ports = {one["name"]: one["containerPort"] for one in container(apart, "api")["ports"]}
    assert ports == {"http": 8000, "metrics": 9000, "pages": 8001}
    service, api = find(apart, "Service", "pages")["spec"], find(apart, "Service", "")["spec"]
    assert [(one["port"], one["targetPort"]) for one in service["ports"]] == [(8080, "pages")]
    assert [one["targetPort"] for one in api["ports"]] == ["http"]
    assert service["selector"] == api["selector"]
    rules = find(apart, "NetworkPolicy", "api")["spec"]["ingress"]
    (rule,) = [one for one in rules if one["ports"] == [{"port": "pages", "protocol": "TCP"}]]
    assert rule["from"] == peers
    together = with_least({"networkPolicy": policy})
    assert "GATEWAY_CONSOLE_PORT" not in environment(together, "api")
    assert "pages" not in json.dumps(together)
