"""Limits and changes of a tenant, from a request to the values of the flows."""

from collections.abc import Callable

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.core.model import Limits
from gateway.core.text.merge_patch import merge_patch
from gateway.flows.admin.tenants import TenantUpdate
from gateway.web.parse.json_objects import read_metadata, read_object
from gateway.web.schemas import requests

# The fields of Limits, and their names in requests.
_FIELDS = {
    "max_queued": "max_queued",
    "max_in_flight": "max_in_flight",
    "max_rate": "max_rate",
    "max_endpoints": "max_endpoints",
    "keep_payloads": "keep_payloads_days",
    "keep_jobs": "keep_jobs_days",
    "keep_attempts": "keep_attempts_days",
    "keep_events": "keep_events_days",
}


def limits_of(given: requests.LimitsIn) -> Limits:
    """The caps of a new tenant."""
    return Limits(**{name: getattr(given, field) for name, field in _FIELDS.items()})


def change_of(given: requests.TenantChange) -> TenantUpdate:
    """A change as its caller means it; raises BadRequest."""
    return TenantUpdate(
        None if given.name is UNSET else given.name,
        _merging(given.metadata) if bytes(given.metadata) else None,
        _limits_named(given.limits),
    )


def _limits_named(given: requests.LimitsChange | UnsetType | None) -> dict[str, int | None]:
    """The limits that are named; null instead of the object resets them all."""
    if given is UNSET:
        return {}
    if given is None:
        return dict.fromkeys(_FIELDS)
    named = {name: getattr(given, field) for name, field in _FIELDS.items()}
    return {name: value for name, value in named.items() if value is not UNSET}


def _merging(raw: Raw) -> Callable[[str], str]:
    """A merge patch of metadata; null removes all of it."""
    patch = None if bytes(raw) == b"null" else read_object("metadata", raw)[1]

    def merge(before: str) -> str:
        after = None if patch is None else merge_patch(msgspec.json.decode(before), patch)
        return read_metadata(Raw(msgspec.json.encode(after)))[0]

    return merge
