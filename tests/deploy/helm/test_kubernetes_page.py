"""The page about Kubernetes names values that the Helm chart has, and all of its switches."""

import re

from gateway.settings import PREFIX, Settings
from tests.deploy.helm import chart_files
from tests.deploy.helm.chart_files import CHART

PAGE = (CHART.parents[2] / "docs/kubernetes.md").read_text()
CODE = re.findall(r"```.*?```|`[^`\n]+`", PAGE, re.DOTALL)
VALUES = {one.name: one for one in chart_files.values()}


def _named(text: str) -> set[str]:
    """The dotted names in code that begin with a group of values."""
    groups = {name.partition(".")[0] for name in VALUES}
    names = re.findall(r"(?<![\w/.-])[a-z][A-Za-z]*(?:\.[A-Za-z_]+)+", text)
    return {name for name in names if name.partition(".")[0] in groups}


def test_named_values_exist() -> None:
    named = {name for code in CODE for name in _named(code)}
    assert len(named) > 30
    settings = {f"config.{PREFIX}{name.upper()}" for name in Settings.model_fields}
    inside = {"podSecurityContext.runAsUser"}  # in a value that goes to Kubernetes as it is
    assert {name for name in named if name not in VALUES} <= settings | inside
    assert "runAsUser" in VALUES["podSecurityContext"].default


def test_every_switch_is_explained() -> None:
    table = PAGE.partition("\n## Switches\n")[2].partition("\n## ")[0]
    switches = {name for name, one in VALUES.items() if isinstance(one.default, bool)}
    # These go with a switch, and the sections say what they do.
    parts = {"ingress.admin", "httpRoute.admin", "networkPolicy.receivers"}
    assert {name for name in switches - parts if f"`{name}`" not in table} == set()
    assert {name for name in parts if f"`{name}`" not in PAGE} == set()


def test_the_oldest_version_is_named() -> None:
    for text in (PAGE, chart_files.README.read_text()):
        assert "Kubernetes 1.29 or newer" in text
    assert 'kubeVersion: ">=1.29.0-0"' in (CHART / "Chart.yaml").read_text()
