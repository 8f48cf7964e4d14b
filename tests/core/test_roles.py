"""Roles: each includes those before it, and every operator key has one."""

from itertools import pairwise

import pytest

from gateway.core.model import Scope
from gateway.core.roles import OPERATOR_SCOPES, Role, least_role, role_of, scopes_of, with_implied


def test_each_role_has_more_than_the_one_before_it():
    for lower, higher in pairwise(Role):
        assert scopes_of(lower) < scopes_of(higher)
    assert scopes_of(Role.OPERATOR) == frozenset(Scope)


def test_only_what_reads_is_for_viewers():
    assert all(scope.endswith(":read") for scope in scopes_of(Role.VIEWER))
    assert scopes_of(Role.SUPPORT) - scopes_of(Role.VIEWER) == {Scope.SUPPORT}


@pytest.mark.parametrize("role", list(Role))
def test_the_role_of_its_scopes_is_the_role(role: Role):
    assert role_of(scopes_of(role)) is role
    assert with_implied(scopes_of(role)) == scopes_of(role)


@pytest.mark.parametrize(
    ("scopes", "role"),
    [
        ({"admin"}, Role.OPERATOR),
        ({"admin", "admin:read"}, Role.OPERATOR),
        ({"admin:read"}, Role.VIEWER),
        ({"support"}, Role.SUPPORT),
        ({"admin:read", "support"}, Role.SUPPORT),
        ({"jobs:read", "jobs:write"}, None),
        (set[str](), None),
    ],
)
def test_stored_scopes_lead_to_a_role_and_to_all_that_it_includes(
    scopes: set[str], role: Role | None
):
    assert role_of(frozenset(scopes)) is role
    expected = scopes | (scopes_of(role) if role else set())
    assert with_implied(frozenset(scopes)) == expected


@pytest.mark.parametrize("scope", list(Scope))
def test_the_least_role_of_a_scope_is_the_lowest_that_has_it(scope: Scope):
    least = least_role(frozenset({scope}))
    assert scope in scopes_of(least)
    assert all(scope not in scopes_of(role) for role in list(Role)[: list(Role).index(least)])


def test_each_role_has_a_scope_that_stands_for_it():
    assert len(OPERATOR_SCOPES) == len(Role)
