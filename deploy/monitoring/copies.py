#!/usr/bin/env python3
"""Write the copies of alerts.yaml for Kubernetes: `make rules`.

One copy is a PrometheusRule for the Prometheus operator, the other one is a file of the Helm chart.
A test compares both with the source.
"""

from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "alerts.yaml"
CHART = HERE.parent / "helm/job-gateway/files/alerts.yaml"
CUSTOM_RESOURCE = HERE / "prometheus-rule.yaml"
_HEAD = """\
# Made from alerts.yaml by `make rules`. Apply with `kubectl apply -f`; the Prometheus operator must select its labels.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: job-gateway
  labels:
    app.kubernetes.io/name: job-gateway
spec:
"""


def custom_resource(rules: str) -> str:
    """The rules as a PrometheusRule."""
    lines = rules[rules.index("groups:\n") :].splitlines()
    return _HEAD + "".join(f"  {line}".rstrip() + "\n" for line in lines)


def main() -> None:
    """Write both copies."""
    rules = SOURCE.read_text()
    CHART.write_text(rules)
    CUSTOM_RESOURCE.write_text(custom_resource(rules))


if __name__ == "__main__":
    main()
