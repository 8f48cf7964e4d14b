"""Responses for operators: tenants, credentials, keys and the audit log."""

import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Annotated, Any, Self, get_args

from msgspec import Meta

from gateway.core.model import AccessKey, KeyKind, Tenant
from gateway.core.roles import role_of
from gateway.flows.admin.tenant_load import LimitsInForce
from gateway.store.tenancy.audit import AuditEntry
from gateway.store.tenancy.load import HeldTenant, TenantLoad
from gateway.store.tenancy.tenants import CredentialInUse
from gateway.web.schemas.requests import RoleName, ScopeName, TrustedName
from gateway.web.schemas.responses import Address, Id, Out, Time, maybe_stamp, one_of, stamp

RoleText = Annotated[str, Meta(extra_json_schema=one_of(RoleName))]
ScopeText = Annotated[str, Meta(extra_json_schema=one_of(ScopeName))]
TrustedText = Annotated[str, Meta(extra_json_schema={"enum": list(get_args(TrustedName))})]


def role_of_key(key: AccessKey) -> str | None:
    """The role of an operator key; None for other kinds."""
    return role_of(key.scopes) if key.kind is KeyKind.OPERATOR else None


class LimitsOut(Out):
    """Limits of a tenant. Null means the gateway's default; 0 days means no deletion."""

    max_queued: int | None
    max_in_flight: int | None
    max_rate: int | None
    max_endpoints: int | None
    keep_payloads_days: int | None
    keep_jobs_days: int | None
    keep_attempts_days: int | None
    keep_events_days: int | None


class TenantOut(Out):
    """A tenant, which owns jobs, history, keys, credentials and endpoints."""

    id: Id
    slug: str
    name: str
    metadata: dict[str, Any]
    limits: LimitsOut
    send_traceparent: list[TrustedText]
    suspended_at: Time | None
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, tenant: Tenant) -> Self:
        """The response for a tenant."""
        return cls(
            str(tenant.id),
            tenant.slug,
            tenant.name,
            json.loads(tenant.metadata),
            LimitsOut(*astuple(tenant.limits)),
            list(tenant.send_traceparent),
            maybe_stamp(tenant.suspended_at),
            stamp(tenant.created_at),
            stamp(tenant.updated_at),
        )


class LimitUse(Out):
    """How much of a limit is used."""

    used: int
    max: int


class TenantLoadOut(Out):
    """What a tenant uses of its limits; `maxRate` is requests a second, null for no limit."""

    waiting: LimitUse
    in_flight: LimitUse
    endpoints: LimitUse
    max_rate: int | None
    credential: Annotated[
        str, Meta(extra_json_schema={"enum": ["ok", "none", "refused", "paused"]})
    ]

    @classmethod
    def of(cls, load: TenantLoad, limits: LimitsInForce) -> Self:
        """The response for a tenant."""
        return cls(
            LimitUse(load.waiting, limits.waiting),
            LimitUse(load.in_flight, limits.in_flight),
            LimitUse(load.endpoints, limits.endpoints),
            limits.rate or None,
            load.credential,
        )


class HeldTenantOut(Out):
    """A tenant whose newest credential holds its jobs back, or may soon; without a version it has none."""

    tenant: str
    version: int | None
    rejected_at: Time | None
    rejected_reason: str | None
    failures: int
    paused_until: Time | None
    waiting: int
    in_flight: int

    @classmethod
    def of(cls, held: HeldTenant) -> Self:
        """The response for a tenant."""
        return cls(
            held.tenant,
            held.version,
            maybe_stamp(held.rejected_at),
            held.rejected_reason,
            held.failures,
            maybe_stamp(held.paused_until),
            held.waiting,
            held.in_flight,
        )


class CredentialOut(Out):
    """One version of a tenant's credential; the key itself is never shown."""

    version: int
    base_url: Address
    created_at: Time
    rejected_at: Time | None
    rejected_reason: str | None
    failures: int
    paused_until: Time | None
    in_flight: int

    @classmethod
    def of(cls, credential: CredentialInUse) -> Self:
        """The response for a version of a credential."""
        return cls(
            credential.version,
            credential.base_url,
            stamp(credential.created_at),
            maybe_stamp(credential.rejected_at),
            credential.rejected_reason,
            credential.failures,
            maybe_stamp(credential.paused_until),
            credential.in_flight,
        )


class KeyOut(Out, kw_only=True):
    """An access key; a service key without tenants may act for all tenants."""

    key_id: str
    kind: KeyKind
    tenant: str | None
    tenants: Sequence[str] | None
    name: str
    scopes: Sequence[ScopeText]
    role: RoleText | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None

    @classmethod
    def of(
        cls, key: AccessKey, tenant: str | None, tenants: Sequence[str] | None, **more: str
    ) -> Self:
        """The response for a key of the tenants with these slugs."""
        return cls(
            key_id=key.key_id,
            kind=key.kind,
            tenant=tenant,
            tenants=tenants,
            name=key.name,
            scopes=sorted(key.scopes),
            role=role_of_key(key),
            created_at=stamp(key.created_at),
            expires_at=maybe_stamp(key.expires_at),
            revoked_at=maybe_stamp(key.revoked_at),
            last_used_at=maybe_stamp(key.last_used_at),
            **more,
        )


class KeyMade(KeyOut, kw_only=True):
    """A new access key with its text, which is shown only this time."""

    access_key: str


class AuditOut(Out):
    """One administrative action and its key; without a key name it was the command line."""

    id: Id
    at: Time
    key_id: str
    key_name: str | None
    action: str
    subject: str
    tenant: str | None
    detail: dict[str, Any]

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """The response for an entry."""
        return cls(
            str(entry.id),
            stamp(entry.at),
            entry.key_id,
            entry.key_name,
            entry.action,
            entry.subject,
            entry.tenant,
            json.loads(entry.detail),
        )
