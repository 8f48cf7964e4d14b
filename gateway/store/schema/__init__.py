"""The tables of the database. Tests compare `metadata` with the tables that the migrations create."""

from gateway.store.schema import processes, saved_views, sessions, tenancy, usage, webhooks, work
from gateway.store.schema.common import metadata

__all__ = [
    "metadata",
    "processes",
    "saved_views",
    "sessions",
    "tenancy",
    "usage",
    "webhooks",
    "work",
]
