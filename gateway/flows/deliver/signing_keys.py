"""Signing keys and custom headers: sealed in the database, open only in memory.

The deliverer opens them for each claim, the administration seals new ones. Each is bound to its
tenant and row by the associated data of its cipher text, so a copied row does not open.
A secret that no master key opens delays only the webhooks that it signs, and the operator is told.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from gateway.core.crypto.cipher import NONCE_BYTES, AssociatedData, CannotOpenError
from gateway.core.webhooks.signing import Ed25519Key, HmacKey, SigningKey, public_bytes
from gateway.flows.deps import Deps, secret_place
from gateway.store.database import Tx
from gateway.store.webhooks import deliveries, endpoints

V1, V1A = "v1", "v1a"
_HMAC_BYTES = 32
_SEED_BYTES = 32

Receiver = tuple[UUID, UUID | None]


async def live_keys(
    tx: Tx, deps: Deps, receivers: Sequence[Receiver]
) -> defaultdict[Receiver, list[SigningKey]]:
    """The keys that sign webhooks to each receiver, (tenant, endpoint); newest first, no key twice.

    A key that no master key opens is left out.
    """
    keys: defaultdict[Receiver, list[SigningKey]] = defaultdict(list)
    for one in await deliveries.secrets(tx, receivers) if receivers else ():
        try:
            raw = deps.cipher.open(one.sealed, secret_place(one.tenant_id, one.id))
        except CannotOpenError as error:
            deps.report_sealed(error)
        else:
            keys[one.tenant_id, one.endpoint_id].append(key_of(one.algorithm, raw))
    for receiver, live in keys.items():
        if len(live) > 1:  # a caller may give an earlier key again
            keys[receiver] = list({(algorithm_of(key), key): key for key in live}.values())
    return keys


def key_of(algorithm: str, raw: bytes) -> SigningKey:
    """The signing key of stored bytes."""
    return Ed25519Key(raw) if algorithm == V1A else HmacKey(raw)


def algorithm_of(key: SigningKey) -> str:
    """The algorithm that a key signs with."""
    return V1A if isinstance(key, Ed25519Key) else V1


def new_key(deps: Deps, algorithm: str) -> SigningKey:
    """A new key for an algorithm, `v1` (HMAC-SHA256) or `v1a` (Ed25519)."""
    size = _SEED_BYTES if algorithm == V1A else _HMAC_BYTES
    return key_of(algorithm, deps.ids.random_bytes(size))


async def keep_key(
    tx: Tx, deps: Deps, tenant_id: UUID, endpoint_id: UUID | None, key: SigningKey
) -> None:
    """Store a key of an endpoint, or without one the tenant's default key."""
    secret_id = deps.ids.uuid()
    place, nonce = secret_place(tenant_id, secret_id), deps.ids.random_bytes(NONCE_BYTES)
    await endpoints.add_secret(
        tx,
        secret_id,
        tenant_id,
        endpoint_id,
        algorithm=algorithm_of(key),
        sealed=deps.cipher.seal(key, place, nonce),
        public_key=public_bytes(key) if isinstance(key, Ed25519Key) else None,
    )


def seal_headers(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID, headers: Mapping[str, str]
) -> bytes | None:
    """Seal custom headers for storage; None if there are none."""
    if not headers:
        return None
    text, nonce = json.dumps(dict(headers)).encode(), deps.ids.random_bytes(NONCE_BYTES)
    return deps.cipher.seal(text, _headers_place(tenant_id, endpoint_id), nonce)


def open_headers(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID | None, sealed: bytes | None
) -> dict[str, str]:
    """Open custom headers for sending, with names in lower case. Raises CannotOpenError."""
    if sealed is None or endpoint_id is None:
        return {}
    place = _headers_place(tenant_id, endpoint_id)
    return {
        name.lower(): text for name, text in json.loads(deps.cipher.open(sealed, place)).items()
    }


def _headers_place(tenant_id: UUID, endpoint_id: UUID) -> AssociatedData:
    return AssociatedData("endpoint", str(tenant_id), str(endpoint_id), 1)
