"""Sessions of the console and of the portal, the one-time links that open them, and the looks of portals."""

from sqlalchemy import Column, ForeignKey, LargeBinary, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.store.schema.common import Time, metadata, own_id


def _table(name: str, *more: Column[object]) -> Table:
    """What a session and its link have in common; the link hands it on."""
    return Table(
        name,
        metadata,
        own_id(),
        Column("tenant_id", Uuid, ForeignKey("tenant.id"), index=True),  # null: the console
        Column("key_id", Text),  # of the access key whose end ends the session too
        Column("kind", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("who", Text, nullable=False),
        Column("pages", ARRAY(Text), nullable=False),
        Column("return_url", Text),
        Column("theme", JSONB, nullable=False),
        Column("digest", LargeBinary, nullable=False, unique=True),  # of the token
        Column("created_at", Time, nullable=False),
        Column("expires_at", Time, nullable=False, index=True),
        *more,
    )


portal_look = Table(
    "portal_look",
    metadata,
    Column("tenant_id", Uuid, ForeignKey("tenant.id"), primary_key=True),
    Column("accent", Text),
    Column("logo_url", Text),
    Column("mode", Text),
    Column("frame_ancestors", ARRAY(Text), nullable=False),
)
session = _table("session", Column("last_seen_at", Time, nullable=False), Column("address", Text))
session_link = _table("session_link", Column("used_at", Time))
