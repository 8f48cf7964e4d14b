"""Master keys: what each still seals, resealing with the first, and the check at the start.

An operator rotates the master key by putting a new one first and resealing everything with it.
Resealing works in batches, each one transaction: a crash leaves the rest to the next run, and the
gateway works meanwhile. A process refuses to start if a stored secret needs a key that it lacks.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.config.environment import InvalidSettingsError
from gateway.core.crypto.cipher import (
    NONCE_BYTES,
    NUMBER_BYTES,
    AssociatedData,
    CannotOpenError,
    Cipher,
)
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.health.readiness import needed_revision
from gateway.store.database import Database
from gateway.store.migration.migrate import revision
from gateway.store.tenancy import sealed_values
from gateway.store.tenancy.sealed_values import Kind, Value

_BATCH = 500
_TRIES = 3


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A master key: its id, its rank in GATEWAY_MASTER_KEY from 0, and how many secrets it seals."""

    id: str
    rank: int | None
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many secrets need the key to be opened."""
        return sum(self.counts.values())

    @property
    def advice(self) -> str:
        """What an operator should do with the key."""
        if self.rank is None:
            return "missing: put it in the list"
        if self.rank == 0:
            return "seals"
        return "needed" if self.total else "may be dropped"


@dataclass(frozen=True, slots=True)
class Resealed:
    """A batch: how many secrets were resealed, and the key ids of those that no key opens."""

    kind: str
    done: int
    unopened: Sequence[str]


async def uses(database: Database, cipher: Cipher) -> list[KeyUse]:
    """All configured keys in their order, then the missing ones."""
    async with database.single() as tx:
        found = await sealed_values.counts(tx)
    counts: defaultdict[bytes, dict[str, int]] = defaultdict(dict)
    for one in found:
        counts[one.key][one.kind] = one.values
    ranks = {number: rank for rank, number in enumerate(cipher.numbers)}
    # A value too short to name a key is damaged: no key opens it, so none is missing.
    strange = {key for key in counts if key not in ranks and len(key) == NUMBER_BYTES}
    keys = [*ranks, *sorted(strange)]
    return [KeyUse(key.hex(), ranks.get(key), counts[key]) for key in keys]


async def require_keys(deps: Deps) -> None:
    """Refuse to start if a stored secret needs a master key that is missing.

    If Postgres cannot be reached three times, the process may start. Raises InvalidSettingsError.
    """
    for _ in range(_TRIES):
        try:
            async with deps.db.single() as tx:
                present = await revision(tx)
            if present is not None and present >= needed_revision():
                refuse_missing(await uses(deps.db, deps.cipher))
        except Unavailable:
            continue
        return


def refuse_missing(found: Sequence[KeyUse]) -> None:
    """Raise InvalidSettingsError that names the missing keys, if there are any."""
    lines = [
        f"GATEWAY_MASTER_KEY: the key {use.id} is missing, which seals {_text(use.counts)}:"
        " put it in the list, behind the first"
        for use in found
        if use.rank is None
    ]
    if lines:
        raise InvalidSettingsError("\n".join(lines))


def _text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


async def reseal(deps: Deps, batch: int = _BATCH) -> AsyncIterator[Resealed]:
    """Reseal with the first key all that another key seals, one transaction for each batch.

    It can be stopped and started again at any time, while the gateway works.
    """
    for kind in sealed_values.KINDS:
        after = UUID(int=0)
        while True:
            async with deps.db.begin() as tx:
                values = await sealed_values.others(tx, kind, deps.cipher.numbers[0], after, batch)
                opened = [(one, _reseal(deps, kind, one)) for one in values]
                fresh = [(one.id, one.sealed, new) for one, new in opened if new is not None]
                done = await sealed_values.replace(tx, kind, fresh) if fresh else 0
            if not values:
                break
            after = values[-1].id
            closed = [deps.cipher.number_of(one.sealed).hex() for one, new in opened if new is None]
            yield Resealed(kind.name, done, closed)


def _reseal(deps: Deps, kind: Kind, value: Value) -> bytes | None:
    place = AssociatedData(kind.table, str(value.tenant_id), str(value.id), value.version)
    try:
        plain = deps.cipher.open(value.sealed, place)
    except CannotOpenError:
        return None
    return deps.cipher.seal(plain, place, deps.ids.random_bytes(NONCE_BYTES))


async def give_up(database: Database, key: bytes) -> dict[str, int]:
    """Empty all secrets that a lost key seals, so that nothing waits for it; returns counts by kind."""
    async with database.begin() as tx:
        return {
            kind.name: await sealed_values.give_up(tx, kind, key) for kind in sealed_values.KINDS
        }
