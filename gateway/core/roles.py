"""The roles of people who run the gateway, and the scopes that each of them has.

A role is stored as the scopes of an operator key. `admin`, `support` and `admin:read` each include
the scopes of their role, so a key from before there were roles has one as well.
"""

from enum import StrEnum

from gateway.core.model import Scope


class Role(StrEnum):
    """What a person may do: a viewer reads, support also acts on what exists, an operator does all."""

    VIEWER = "viewer"
    SUPPORT = "support"
    OPERATOR = "operator"


_READS = frozenset({Scope.ADMIN_READ, Scope.JOBS_READ, Scope.ENDPOINTS_READ, Scope.USAGE_READ})
# From the lowest to the highest: each role has the scopes of those before it.
_SCOPES: dict[Role, frozenset[Scope]] = {
    Role.VIEWER: _READS,
    Role.SUPPORT: _READS | {Scope.SUPPORT},
    Role.OPERATOR: frozenset(Scope),
}
# The scope that stands for a role.
_MARKS = {
    Role.VIEWER: Scope.ADMIN_READ,
    Role.SUPPORT: Scope.SUPPORT,
    Role.OPERATOR: Scope.ADMIN,
}
OPERATOR_SCOPES = frozenset(_MARKS.values())


def scopes_of(role: Role) -> frozenset[Scope]:
    """The scopes of a role."""
    return _SCOPES[role]


def portal_scopes(role: Role) -> frozenset[Scope]:
    """What a session of a tenant's portal may do with what the tenant has; only a viewer's changes nothing."""
    reads = frozenset({Scope.JOBS_READ, Scope.ENDPOINTS_READ, Scope.USAGE_READ})
    if role is Role.VIEWER:
        return reads
    return reads | {Scope.SUPPORT, Scope.JOBS_WRITE, Scope.ENDPOINTS_WRITE}


def role_of(scopes: frozenset[str]) -> Role | None:
    """The highest role that these scopes cover; None where they cover none."""
    held = [role for role, mark in _MARKS.items() if mark in scopes]
    return held[-1] if held else None


def with_implied(scopes: frozenset[str]) -> frozenset[str]:
    """The scopes of an operator key, with those that its role has."""
    role = role_of(scopes)
    return scopes if role is None else scopes | _SCOPES[role]


def least_role(scopes: frozenset[str]) -> Role:
    """The lowest role that has one of these scopes."""
    return next((role for role in _SCOPES if _SCOPES[role] & scopes), Role.OPERATOR)
