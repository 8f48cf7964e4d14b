from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.sdk import CHECKS, Target
from tests.simulator.process import Certificate, Running, make_certificate, running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def simulator(certificate: Certificate) -> Iterator[Running]:
    with running(certificate=certificate) as simulator:
        yield simulator


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_official_sdk(
    check: Callable[[Target], None],
    simulator: Running,
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))

    check(Target(f"{simulator.api}/v1", f"sim-{check.__name__}", tmp_path))
