"""Views of lists that people keep by name."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Table, Text, Uuid, text

from gateway.store.schema.common import made_at, metadata, own_id

_OF_STAFF = text("tenant_id IS NULL")

saved_view = Table(
    "saved_view",
    metadata,
    own_id(),
    Column("tenant_id", Uuid, ForeignKey("tenant.id")),  # null: of somebody of the staff
    Column("owner", Text, nullable=False),  # the name of the person; empty: the tenant's
    Column("name", Text, nullable=False),
    Column("query", Text, nullable=False),  # of the URL
    Column("is_shared", Boolean, nullable=False),  # with all of the staff
    made_at(),
    Index("saved_view_of_staff", "owner", "name", unique=True, postgresql_where=_OF_STAFF),
    Index(
        "saved_view_of_tenant",
        "tenant_id",
        "name",
        unique=True,
        postgresql_where=text("tenant_id IS NOT NULL"),
    ),
    Index(
        "saved_view_shared",
        "name",
        postgresql_where=text("tenant_id IS NULL AND is_shared"),
    ),
)
