"""The 404 for unknown paths, which says whether the path or the id in it is wrong."""

import re
from collections.abc import Iterator
from functools import cache

from gateway.errors import NotFound
from gateway.web.parse.validation_errors import shown
from gateway.web.route_table import OPERATOR, TENANT, Groups, flat

_PLACEHOLDER = re.compile(r"\\\{(\w+):uuid\\\}")
_KINDS = {
    "job_id": "a job id",
    "endpoint_id": "an endpoint id",
    "delivery_id": "a delivery id",
    "operation_id": "the id of a bulk operation",
}


def not_found_at(path: str) -> NotFound:
    """The error for a path that no route matches."""
    for pattern in _with_ids():
        match = pattern.fullmatch(path.rstrip("/"))
        if match is not None:
            [(name, given)] = match.groupdict().items()
            return NotFound(f"{shown(given)} is not {_KINDS[name]}.")
    return NotFound("There is nothing at this path.")


@cache
def _with_ids() -> list[re.Pattern[str]]:
    prefixes = (("/(?:v1|api)", TENANT), ("/admin/v1", OPERATOR))
    return [
        re.compile(prefix + path) for prefix, groups in prefixes for path in sorted(_paths(groups))
    ]


def _paths(groups: Groups) -> Iterator[str]:
    for handler in flat(groups):
        for path in handler.paths:
            pattern, ids = _PLACEHOLDER.subn(r"(?P<\1>[^/]+)", re.escape(path))
            if ids:
                yield pattern
