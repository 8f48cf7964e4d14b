"""Sign-in of staff at an identity provider (OpenID Connect): the way there, and the way back.

The browser keeps the attempt sealed in a cookie, so nothing is stored before somebody is known, and any
process can finish what another one began. An attempt has ten minutes, and opens one session.
"""

import base64
import hmac
from datetime import timedelta
from typing import NamedTuple

from gateway.core.crypto.cipher import NONCE_BYTES, CannotOpenError
from gateway.core.crypto.session_tokens import STATE, TOKEN_BYTES, make_token
from gateway.core.sign_in.attempt import PLACE, SignInAttempt, decoded
from gateway.core.text.printable import printable
from gateway.errors import (
    Forbidden,
    GatewayError,
    NotFound,
    Unauthorized,
    UpstreamUnavailable,
)
from gateway.flows.admin.sessions import Person, Session, admit, count_sign_in
from gateway.flows.deps import Deps
from gateway.ports import IdentityProvider, ProviderAnswer, ProviderFault

ATTEMPT_LIFETIME = timedelta(minutes=10)
_WORK = "sign_in"
# A longer page is not come back to: browsers keep cookies of 4 kB.
_LONGEST_WANTED = 1_500
_LONGEST_TOLD = 300
_NOT_BEGUN = (
    "This browser did not begin this sign-in, or began another one since. Begin it again here."
)
_REFUSALS: dict[str, type[GatewayError]] = {
    "away": UpstreamUnavailable,
    "refused": Forbidden,
    "distrusted": Unauthorized,
}


class WayThere(NamedTuple):
    """Where the browser is sent, and what it keeps until it comes back."""

    url: str
    sealed: str


async def begin(deps: Deps, wanted: str, address: str | None) -> WayThere:
    """Begin an attempt that leads to the page `wanted`.

    Raises RateLimited, UpstreamUnavailable.
    """
    await count_sign_in(deps, address)
    provider = require_provider(deps)
    attempt = SignInAttempt(
        state=make_token(STATE, deps.ids.random_bytes(TOKEN_BYTES)).text,
        nonce=_random(deps),
        verifier=_random(deps),
        wanted=wanted if len(wanted) <= _LONGEST_WANTED else "",
        expires_at=deps.clock.now() + ATTEMPT_LIFETIME,
    )
    url = await provider.authorization_url(
        state=attempt.state, nonce=attempt.nonce, verifier=attempt.verifier
    )
    if isinstance(url, ProviderFault):
        raise _refusal(deps, url)
    sealed = deps.cipher.seal(attempt.encoded(), PLACE, deps.ids.random_bytes(NONCE_BYTES))
    return WayThere(url, base64.urlsafe_b64encode(sealed).decode().rstrip("="))


def attempt_of(deps: Deps, sealed: str) -> SignInAttempt | None:
    """The attempt that a browser kept; None if it is none of ours."""
    try:
        raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
        return decoded(deps.cipher.open(raw, PLACE))
    except (ValueError, CannotOpenError):
        return None


async def finish(
    deps: Deps, attempt: SignInAttempt | None, answer: ProviderAnswer, address: str | None
) -> tuple[Session, str]:
    """Open the session of the person whom the provider's answer names; returns it and its token.

    Raises Unauthorized, Forbidden, RateLimited and UpstreamUnavailable with a sentence for the person.
    """
    await count_sign_in(deps, address)
    provider = require_provider(deps)
    attempt = _require_own(deps, attempt, answer)
    claims = await provider.claims(answer, nonce=attempt.nonce, verifier=attempt.verifier)
    if isinstance(claims, ProviderFault):
        raise _refusal(deps, claims)
    rules = deps.staff_rules
    role = rules.role_of(claims)
    if role is None:
        raise _refusal(deps, ProviderFault("refused", rules.why_no_role(claims)))
    person = Person(
        rules.name_of(claims), role, provider.issuer, printable(str(claims["sub"]))[:_LONGEST_TOLD]
    )
    opened = await admit(deps, person, attempt.state, address)
    if opened is None:
        raise Unauthorized("This sign-in was used already. Begin it again here.")
    deps.observer.done(_WORK, "ok", seconds=0.0, role=role.value)
    return opened


def require_provider(deps: Deps) -> IdentityProvider:
    """The provider; raises NotFound where the settings name none."""
    if deps.identity_provider is None:
        raise NotFound("There is no such page: sign-in with OpenID Connect is not set up.")
    return deps.identity_provider


def _require_own(
    deps: Deps, attempt: SignInAttempt | None, answer: ProviderAnswer
) -> SignInAttempt:
    """The attempt, if the answer is for it and says that somebody signed in."""
    given = answer.state.encode()
    if attempt is None or not hmac.compare_digest(attempt.state.encode(), given):
        raise Unauthorized(_NOT_BEGUN)
    if attempt.expires_at <= deps.clock.now():
        minutes = ATTEMPT_LIFETIME // timedelta(minutes=1)
        raise Unauthorized(f"The sign-in took longer than {minutes} minutes. Begin it again here.")
    if answer.error or not answer.code:
        told = ": ".join(filter(None, (answer.error or "it sent no code", answer.error_text)))
        told = printable(told[:_LONGEST_TOLD])
        name = require_provider(deps).name
        raise _refusal(deps, ProviderFault("refused", f"{name} did not sign you in: {told}"))
    return attempt


def _refusal(deps: Deps, fault: ProviderFault) -> GatewayError:
    """Report a fault to the operators, and return the error that tells the person."""
    cause = fault.cause or fault.text
    deps.observer.done(_WORK, fault.kind, seconds=0.0, cause=cause[:_LONGEST_TOLD])
    return _REFUSALS[fault.kind](fault.text)


def _random(deps: Deps) -> str:
    return base64.urlsafe_b64encode(deps.ids.random_bytes(TOKEN_BYTES)).decode().rstrip("=")
