"""JSON Merge Patch (RFC 7396): what is named changes, null takes away, the rest stays."""

from collections.abc import Mapping
from typing import cast


def merge_patch(target: object, patch: object) -> object:
    """A JSON value after a patch; neither is changed. Lists are replaced whole."""
    if not isinstance(patch, Mapping):
        return patch
    members = cast("Mapping[str, object]", patch)
    merged = dict(cast("Mapping[str, object]", target)) if isinstance(target, Mapping) else {}
    for name, value in members.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
