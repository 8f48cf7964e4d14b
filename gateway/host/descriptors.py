"""How many files and connections this process may have open."""

import resource

_PLENTY = 65_536


def raise_limit() -> None:
    """Raise the soft limit to the hard one: each waiting caller is a connection, and 1,024 are soon gone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    plenty = _PLENTY if hard == resource.RLIM_INFINITY else min(hard, _PLENTY)
    if soft != resource.RLIM_INFINITY and soft < plenty:
        resource.setrlimit(resource.RLIMIT_NOFILE, (plenty, hard))
