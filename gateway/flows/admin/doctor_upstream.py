"""The doctor at the upstream: whether it answers, and whether it accepts the credentials of tenants."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from gateway.core.crypto.cipher import Secret
from gateway.core.diagnosis.findings import DoctorFinding, doubtful, fine, wrong
from gateway.core.model import Credential
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.upstream.credential_access import open_access
from gateway.ports import Access, Busy, Denied, Sealed, Trouble
from gateway.store.tenancy import tenants

# Of thousands of tenants the first ones are tried, so that it ends soon and is no burden.
_MOST_TENANTS = 20
_CALLS_AT_ONCE = 5


class _Asked(NamedTuple):
    """A tenant's newest credential, which the upstream is asked with."""

    slug: str
    credential: Credential


async def check_upstream(deps: Deps) -> AsyncIterator[DoctorFinding]:
    """Ask the upstream with the credentials of some tenants, or without any."""
    try:
        found = await _credentials(deps)
    except Unavailable:
        yield await _without_credential(deps, "Without Postgres no credential could be tried.")
        return
    if not found:
        yield await _without_credential(deps, "No tenant has a credential yet.")
        return
    turns = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def ask(access: Access | Sealed) -> str | Trouble | Sealed:
        async with turns:
            return (
                access if isinstance(access, Sealed) else await deps.catalogue.application(access)
            )

    answers = await asyncio.gather(*(ask(open_access(deps, one.credential)) for one in found))
    for finding in _judge_answers(found, answers):
        yield finding


async def _credentials(deps: Deps) -> list[_Asked]:
    async with deps.db.single() as tx:
        tried = await tenants.page(tx, None, _MOST_TENANTS)
        credentials = [(one.slug, await tenants.credential(tx, one.id)) for one in tried]
    return [_Asked(slug, credential) for slug, credential in credentials if credential is not None]


async def _without_credential(deps: Deps, why: str) -> DoctorFinding:
    """Try the upstream with a key that it must refuse."""
    access = Access(deps.ids.uuid(), deps.upstream_url, Secret("doctor"))
    answer = await deps.catalogue.application(access)
    if isinstance(answer, (str, Denied)):
        return fine("upstream", f"{deps.upstream_url} answers. {why}")
    return _unusable(deps.upstream_url, answer)


def _judge_answers(
    asked: Sequence[_Asked], answers: Sequence[str | Trouble | Sealed]
) -> Iterator[DoctorFinding]:
    accepted, silent = Counter[str](), dict[str, Trouble]()
    for one, answer in zip(asked, answers, strict=True):
        url = one.credential.base_url
        if isinstance(answer, str):
            accepted[url] += 1
        elif isinstance(answer, Denied):
            text = f"The upstream refuses the credential of {one.slug}: HTTP {answer.status}."
            advice = f"`gateway credential put {one.slug}`: its jobs wait until then."
            yield doubtful("upstream", text, advice)
        elif isinstance(answer, Sealed):
            text = f"The credential of {one.slug} cannot be opened: {answer.reason}."
            yield wrong("upstream", text, "See the findings on master keys.")
        else:
            silent[url] = answer
    for url, answer in silent.items():
        yield _unusable(url, answer)
    for url, count in accepted.items():
        text = f"{url} accepts the credentials of {count} of {len(asked)} tenants that were tried."
        yield fine("upstream", text)


def _unusable(url: str, answer: Trouble) -> DoctorFinding:
    reason = f"HTTP {answer.status}" if isinstance(answer, Denied) else answer.reason
    text = f"{url} gives no usable answer: {reason}."
    if isinstance(answer, Busy) and answer.limited:
        advice = "It limits the rate: lower GATEWAY_UPSTREAM_RATE or GATEWAY_POLL_BUDGET, or ask for more."
        return doubtful("upstream", text, advice)
    advice = "Check GATEWAY_UPSTREAM_URL, the network, and the upstream's status page."
    return wrong("upstream", text, advice)
