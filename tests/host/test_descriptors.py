"""How many files and connections a process may have open."""

import resource
from collections.abc import Iterator

import pytest

from gateway.host.descriptors import raise_limit


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_low_soft_limit_is_raised_as_far_as_the_system_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    raise_limit()
    soft, unchanged = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 512
    assert unchanged == hard
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft
