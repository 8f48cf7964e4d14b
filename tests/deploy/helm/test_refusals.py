"""The Helm chart refuses values that lack something or contradict each other, with a sentence."""

from typing import Any

import pytest

from tests.deploy.helm.chart import LEAST, merged, refusal, render, texts

IMAGE = {"image": LEAST["image"]}
VALUE = {"value": "postgresql://gateway@postgres/gateway"}
HPA = {"autoscaling": {"enabled": True}}
KEDA = {"keda": {"enabled": True, "serverAddress": "http://prometheus:9090"}}


def test_without_values_everything_that_is_missing_is_named() -> None:
    said = refusal({})
    assert "image.repository is not set: name the image that you built from the Dockerfile." in said
    for setting, value in (
        ("GATEWAY_DATABASE_URL", "databaseUrl"),
        ("GATEWAY_REDIS_URL", "redisUrl"),
        ("GATEWAY_MASTER_KEY", "masterKey"),
    ):
        assert (
            f"{setting} has no value: set secrets.existingSecret, "
            f"or one of secrets.{value}.existingSecret, .file and .value."
        ) in said
    assert said.count("\n- ") == 4


def test_one_missing_secret_is_named_alone() -> None:
    given = {"redisUrl": {"existingSecret": "redis"}, "databaseUrl": {"file": "/run/url"}}
    said = refusal(merged(IMAGE, {"secrets": given}))
    assert "GATEWAY_MASTER_KEY has no value" in said
    assert said.count("\n- ") == 1


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"secrets": {"databaseUrl": VALUE}},
            "secrets.databaseUrl.value and secrets.existingSecret are set: choose one.",
        ),
        (
            {"secrets": {"masterKey": {"existingSecret": "a", "file": "/b"}}},
            "secrets.masterKey.existingSecret and secrets.masterKey.file are set: choose one.",
        ),
        (
            {"secrets": {"migrationDatabaseUrl": {**VALUE, "existingSecret": "a"}}},
            "secrets.migrationDatabaseUrl.value and secrets.migrationDatabaseUrl.existingSecret are set",
        ),
        (
            {"secrets": {"readDatabaseUrl": {**VALUE, "file": "/b"}}},
            "secrets.readDatabaseUrl.value and secrets.readDatabaseUrl.file are set: choose one.",
        ),
        (
            {"api": {"terminationGracePeriodSeconds": 25}},
            "GATEWAY_DRAIN_SECONDS together are 25: a longer time is needed, or 0 to let the chart",
        ),
        (
            {
                "worker": {"terminationGracePeriodSeconds": 60},
                "config": {"GATEWAY_DRAIN_SECONDS": 60.5, "GATEWAY_DRAIN_DELAY_SECONDS": 0},
            },
            "worker.terminationGracePeriodSeconds is 60, but",
        ),
        (
            {"api": {"pdb": {"minAvailable": 1}}},
            "api.pdb.minAvailable and api.pdb.maxUnavailable are both set",
        ),
        (
            {"api": {"pdb": {"maxUnavailable": ""}}},
            "api.pdb has neither minAvailable nor maxUnavailable",
        ),
        (
            {"api": {"pdb": {"minAvailable": 2, "maxUnavailable": ""}}},
            "api.pdb allows no pod to be evicted",
        ),
        (
            {"api": {"pdb": {"minAvailable": "51%", "maxUnavailable": ""}}},
            "api.pdb allows no pod to be evicted",
        ),
        ({"worker": {"pdb": {"maxUnavailable": 0}}}, "worker.pdb allows no pod to be evicted"),
        (
            {"api": {**HPA, "resources": {"requests": {"cpu": None}}}},
            "api.autoscaling needs api.resources.requests.cpu: the target is a percentage of it.",
        ),
        (
            {"worker": {"autoscaling": {"enabled": True, "minReplicas": 11}}},
            "worker.autoscaling.minReplicas is larger than worker.autoscaling.maxReplicas.",
        ),
        ({"keda": {"enabled": True}}, "keda.serverAddress is not set: name the address of"),
        (
            {**KEDA, "worker": HPA},
            "keda.enabled and worker.autoscaling.enabled are both true",
        ),
        ({"keda": {"minReplicas": 21}}, "keda.minReplicas is larger than keda.maxReplicas."),
        (
            {"config": {"GATEWAY_ALLOW_PRIVATE_CALLBACKS": True}},
            "config.GATEWAY_ALLOW_PRIVATE_CALLBACKS works only with config.GATEWAY_ENV=dev",
        ),
        (
            {"extraEnv": [{"name": "GATEWAY_MASTER_KEY", "value": "x"}]},
            "extraEnv sets GATEWAY_MASTER_KEY, which the chart sets itself",
        ),
        (
            {"worker": {"extraEnv": [{"name": "GATEWAY_WORKER_PORT", "value": "1"}]}},
            "worker.extraEnv sets GATEWAY_WORKER_PORT, which the chart sets itself",
        ),
        (
            {
                "config": {"GATEWAY_LOG_LEVEL": "info"},
                "api": {"extraEnv": [{"name": "GATEWAY_LOG_LEVEL", "value": "debug"}]},
            },
            "api.extraEnv and config both set GATEWAY_LOG_LEVEL: choose one.",
        ),
        (
            {"extraEnv": [{"name": "TZ"}], "worker": {"extraEnv": [{"name": "TZ"}]}},
            "worker.extraEnv and extraEnv both set TZ: choose one.",
        ),
        ({"ingress": {"enabled": True}}, "ingress.hosts is empty: name the host of the API."),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is empty: name the Gateway."),
        ({"ingress": {"paths": ["/admin/v1"]}}, "ingress.paths has /admin/v1, which is for op"),
        ({"httpRoute": {"paths": ["/metrics"]}}, "httpRoute.paths has /metrics, which is for op"),
        (
            {
                "secrets": {"egressProxy": {"existingSecret": "proxy"}},
                "networkPolicy": {"enabled": True},
            },
            "networkPolicy.egressProxy.ports is empty, so no pod could reach the proxy",
        ),
        (
            {"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
            "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled are both true",
        ),
    ],
)
def test_a_contradiction_is_refused(more: dict[str, Any], sentence: str) -> None:
    said = refusal(merged(LEAST, more))
    assert sentence in said
    assert said.count("\n- ") == 1


@pytest.mark.parametrize(
    "more",
    [
        {"secrets": {"databaseUrl": {"file": "/run/url"}}},  # one of the three from elsewhere
        {"api": {"terminationGracePeriodSeconds": 26}},
        {"api": {"pdb": {"minAvailable": "50%", "maxUnavailable": ""}}},
        {"api": {**HPA, "pdb": {"minAvailable": 1, "maxUnavailable": ""}}},
        {"config": {"GATEWAY_ALLOW_PRIVATE_CALLBACKS": True, "GATEWAY_ENV": "dev"}},
        {"extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ca.crt"}]},
        {"api": {"extraEnv": [{"name": "GATEWAY_LOG_LEVEL", "value": "debug"}]}},
        {"global": {"anything": "of a chart above"}},
    ],
    ids=str,
)
def test_what_only_looks_like_a_contradiction_is_taken(more: dict[str, Any]) -> None:
    assert render(merged(LEAST, more))


def test_the_budget_counts_the_fewest_pods_of_the_autoscaler() -> None:
    values = merged(LEAST, KEDA)
    budget = {"worker": {"pdb": {"minAvailable": 2, "maxUnavailable": ""}}}
    assert "worker.pdb allows no pod" in refusal(merged(values, budget))
    assert texts(merged(values, {**budget, "keda": {**KEDA["keda"], "minReplicas": 3}}))
