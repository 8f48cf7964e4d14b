"""What the claims of an ID token say about a person: which role they have, and what they are called."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from gateway.core.roles import Role
from gateway.core.text.printable import printable

_LONGEST_NAME = 200
_NAMES = ("email", "preferred_username", "sub")
# From the lowest to the highest.
_RANKS = list(Role)
# OpenID Connect's way to say that a claim is not in the token, but elsewhere.
_ELSEWHERE = "_claim_names"


@dataclass(frozen=True, slots=True)
class StaffRules:
    """Which values of which claim give which role, and which claim has the name."""

    roles_claim: str = ""
    roles: Mapping[str, Role] = field(default_factory=dict[str, Role])
    name_claim: str = ""

    def role_of(self, claims: Mapping[str, object]) -> Role | None:
        """The highest role that a value of the claim gives; None where none does."""
        values = _texts(_at(claims, self.roles_claim))
        held = [self.roles[value] for value in values if value in self.roles]
        return max(held, key=_RANKS.index, default=None)

    def why_no_role(self, claims: Mapping[str, object]) -> str:
        """The reason that there is no role, for the person: it names the claim, and none of its values."""
        claim = self.roles_claim
        if _is_elsewhere(claims, claim):
            return (
                f"The provider left the claim {claim} out of the ID token, because it has too many values."
                " Let it send roles of the application instead of groups."
            )
        count = len(_texts(_at(claims, claim)))
        if not count:
            return f"The ID token has no value in the claim {claim}, which gives people their role."
        if count == 1:
            return f"The value of the claim {claim} gives no role in the gateway."
        return f"None of the {count} values of the claim {claim} gives a role in the gateway."

    def name_of(self, claims: Mapping[str, object]) -> str:
        """The person's name on one line of visible characters: of the first claim that has one."""
        return next(self._names(claims), "")

    def _names(self, claims: Mapping[str, object]) -> Iterator[str]:
        own = (self.name_claim,) if self.name_claim else ()
        for claim in (*own, *_NAMES):
            # Elsewhere anybody may call themselves by somebody else's address.
            if claim == "email" and claims.get("email_verified") is False:
                continue
            for text in _texts(_at(claims, claim))[:1]:
                if name := printable(text.strip())[:_LONGEST_NAME]:
                    yield name


def _at(claims: Mapping[str, object], path: str) -> object:
    """The value at a path with dots; names may have dots themselves, and the longest one goes first."""
    if path in claims:
        return claims[path]
    end = path.rfind(".")
    while end > 0:
        below = claims.get(path[:end])
        if isinstance(below, Mapping):
            return _at(cast("Mapping[str, object]", below), path[end + 1 :])
        end = path.rfind(".", 0, end)
    return None


def _texts(value: object) -> list[str]:
    """The texts of a claim, which has one or a list of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [one for one in cast("Sequence[object]", value) if isinstance(one, str)]
    return []


def _is_elsewhere(claims: Mapping[str, object], claim: str) -> bool:
    named = claims.get(_ELSEWHERE)
    return isinstance(named, Mapping) and claim in named
