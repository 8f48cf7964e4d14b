"""Roles and names from the claims of an ID token."""

from typing import Any

import pytest

from gateway.core.roles import Role
from gateway.core.sign_in.staff_rules import StaffRules

ROLES = {"ops": Role.OPERATOR, "help": Role.SUPPORT, "all": Role.VIEWER}


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("roles", {"roles": ["help"]}),
        ("realm_access.roles", {"realm_access": {"roles": ["help"]}}),
        ("realm_access.roles", {"realm_access.roles": "help"}),
        ("resource_access.my.app.roles", {"resource_access": {"my.app": {"roles": ["help"]}}}),
        ("https://example.com/roles", {"https://example.com/roles": ["help"]}),
        ("https://example.com/x.roles", {"https://example.com/x": {"roles": ["help"]}}),
    ],
)
def test_the_claim_may_be_a_path_or_have_dots(claim: str, claims: dict[str, Any]) -> None:
    assert StaffRules(claim, ROLES).role_of(claims) is Role.SUPPORT


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"a": {}},
        {"a": {"b": {"c": "ops"}}},
        {"a": ["b"]},
        {"a": {"b": b"ops"}},
        {"a.b.c": "ops"},
        {"a": {"b": True}},
    ],
)
def test_what_gives_no_role(claims: dict[str, Any]) -> None:
    assert StaffRules("a.b", ROLES).role_of(claims) is None


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["all", "ops", "help"], Role.OPERATOR),
        (["help", "all"], Role.SUPPORT),
        ("all", Role.VIEWER),
    ],
)
def test_the_highest_role_counts(groups: Any, role: Role) -> None:
    assert StaffRules("groups", ROLES).role_of({"groups": groups}) is role


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({}, "has no value in the claim groups"),
        ({"groups": []}, "has no value in the claim groups"),
        ({"groups": "x"}, "The value of the claim groups gives no role"),
        ({"groups": ["x", "y"]}, "None of the 2 values of the claim groups gives a role"),
        ({"_claim_names": {"groups": "src1"}}, "left the claim groups out"),
    ],
)
def test_the_reason_names_the_claim_and_no_value(claims: dict[str, Any], sentence: str) -> None:
    told = StaffRules("groups", ROLES).why_no_role(claims)
    assert sentence in told
    assert "x" not in told.split()


def test_the_claim_of_the_name_goes_first_even_unverified() -> None:
    claims = {"name": "Ann", "email": "ann@example.com", "email_verified": False, "sub": "s"}
    assert StaffRules(name_claim="name").name_of(claims) == "Ann"
    assert StaffRules(name_claim="missing").name_of(claims) == "s"
    assert StaffRules().name_of({}) == ""
