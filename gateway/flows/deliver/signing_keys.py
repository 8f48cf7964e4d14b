"""Signing secrets and the values of custom headers: sealed in the database, open only in memory."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from gateway.core.cipher import NONCE_BYTES, AssociatedData, CannotOpenError
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
    """What webhooks to each receiver, (tenant, endpoint), are signed with, once each; newest first.

    One that no master key opens is left out: it holds up what it should sign, and nobody else.
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
        if len(live) > 1:  # one that was given again, after others
            keys[receiver] = list({(algorithm_of(key), key): key for key in live}.values())
    return keys


def key_of(algorithm: str, raw: bytes) -> SigningKey:
    """A stored key as what it signs with."""
    return Ed25519Key(raw) if algorithm == V1A else HmacKey(raw)


def algorithm_of(key: SigningKey) -> str:
    """The algorithm that a key signs with."""
    return V1A if isinstance(key, Ed25519Key) else V1


def new_key(deps: Deps, algorithm: str) -> SigningKey:
    """A fresh key for an algorithm."""
    size = _SEED_BYTES if algorithm == V1A else _HMAC_BYTES
    return key_of(algorithm, deps.ids.random_bytes(size))


async def keep_key(
    tx: Tx, deps: Deps, tenant_id: UUID, endpoint_id: UUID | None, key: SigningKey
) -> None:
    """Store a key; without an endpoint it is the tenant's default."""
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
    """Custom headers as they are stored."""
    if not headers:
        return None
    text, nonce = json.dumps(dict(headers)).encode(), deps.ids.random_bytes(NONCE_BYTES)
    return deps.cipher.seal(text, _headers_place(tenant_id, endpoint_id), nonce)


def open_headers(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID | None, sealed: bytes | None
) -> dict[str, str]:
    """Custom headers as they are sent, their names in lower case. Raises CannotOpenError."""
    if sealed is None or endpoint_id is None:
        return {}
    place = _headers_place(tenant_id, endpoint_id)
    return {
        name.lower(): text for name, text in json.loads(deps.cipher.open(sealed, place)).items()
    }


def _headers_place(tenant_id: UUID, endpoint_id: UUID) -> AssociatedData:
    return AssociatedData("endpoint", str(tenant_id), str(endpoint_id), 1)
