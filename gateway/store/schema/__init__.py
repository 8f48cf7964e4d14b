"""The tables of the database. Tests compare `metadata` with the tables that the migrations create."""

from gateway.store.schema import processes, tenancy, usage, webhooks, work
from gateway.store.schema.common import metadata

__all__ = ["metadata", "processes", "tenancy", "usage", "webhooks", "work"]
