"""Raises the limit of open files and connections of this process."""

import resource

_ENOUGH = 65_536


def raise_limit() -> None:
    """Raise the soft limit to the hard one, at most 65,536; the usual 1,024 connections are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
