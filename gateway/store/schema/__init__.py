"""The tables of the database. Tests compare `metadata` with the tables that the migrations create."""

from gateway.store.schema import processes, sessions, tenancy, usage, webhooks, work
from gateway.store.schema.common import metadata

__all__ = ["metadata", "processes", "sessions", "tenancy", "usage", "webhooks", "work"]
