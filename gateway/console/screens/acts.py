"""Acts: entries of the audit log as pages tell them: who did what to what, from what to what. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from gateway.store.tenancy.audit import AuditEntry

_WORDS = {
    "tenant.created": "created the tenant",
    "tenant.changed": "changed the tenant",
    "tenant.suspended": "suspended the tenant",
    "tenant.resumed": "resumed the tenant",
    "tenant.deleted": "erased the tenant",
    "credential.put": "stored a credential for",
    "key.created": "created the key",
    "key.rotated": "rotated the key",
    "key.revoked": "revoked the key",
    "session.created": "signed in",
    "session.ended": "ended a session",
    "portal_link.created": "made a portal link for",
    "portal.changed": "changed the portal of",
    "view.saved": "saved the view",
    "view.changed": "changed the view",
    "view.deleted": "deleted the view",
}
_COMMAND_LINE = "cli"


class Change(NamedTuple):
    """One detail of an act; `before` is None where it is not a change."""

    name: str
    before: str | None
    after: str


class Act(NamedTuple):
    """An entry with its words: `who` is the name of a key or a person."""

    entry: AuditEntry
    who: str
    words: str
    changes: Sequence[Change]
    reason: str


def acts_of(entries: Sequence[AuditEntry]) -> list[Act]:
    """The acts that entries tell of."""
    return [_act(one) for one in entries]


def _act(entry: AuditEntry) -> Act:
    detail: dict[str, Any] = json.loads(entry.detail)
    is_command = entry.key_name is None and entry.key_id == _COMMAND_LINE
    return Act(
        entry,
        entry.key_name or ("the command line" if is_command else entry.key_id),
        _WORDS.get(entry.action, entry.action),
        list(_changes(detail)),
        str(detail.get("reason", "")),
    )


def _changes(detail: Mapping[str, Any]) -> Iterator[Change]:
    for name, value in detail.items():
        if name == "reason":
            continue
        if name == "changes" and isinstance(value, dict):
            for field, both in cast("dict[str, dict[str, object]]", value).items():
                yield Change(field, _text(both.get("from")), _text(both.get("to")))
        elif value not in (None, "", [], {}):
            yield Change(name, None, _text(value))


def _text(value: object) -> str:
    if value is None:
        return "default"
    if isinstance(value, list) and all(isinstance(one, str) for one in cast("list[object]", value)):
        return ", ".join(cast("list[str]", value)) or "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
