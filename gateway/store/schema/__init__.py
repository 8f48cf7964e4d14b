"""The tables; migrations compare themselves with `metadata`."""

from gateway.store.schema import processes, tenancy, usage, webhooks, work
from gateway.store.schema.common import metadata

__all__ = ["metadata", "processes", "tenancy", "usage", "webhooks", "work"]
