"""Columns that several tables share. Ids are UUIDv7, so their order is the order of time."""

from sqlalchemy import Column, DateTime, ForeignKey, MetaData, Uuid, text

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

Time = DateTime(timezone=True)
NOW = text("now()")


def own_id() -> Column[object]:
    """The primary key of most tables."""
    return Column("id", Uuid, primary_key=True)


def owner() -> Column[object]:
    """The tenant that a row belongs to."""
    return Column("tenant_id", Uuid, ForeignKey("tenant.id"), nullable=False)


def owner_without_key() -> Column[object]:
    """The same without a foreign key, whose check locks the tenant: for rows that come by the hundred."""
    return Column("tenant_id", Uuid, nullable=False)


def made_at() -> Column[object]:
    """When a row was created."""
    return Column("created_at", Time, nullable=False, server_default=NOW)
