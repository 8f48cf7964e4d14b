"""The first tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "attempt",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("request_headers", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("response_headers", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("attempt_pkey")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("lane", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("delivery_pkey")),
        postgresql_with={"fillfactor": "85", "autovacuum_vacuum_scale_factor": "0.05"},
    )
    op.create_index(
        "delivery_due",
        "delivery",
        ["lane", "next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "delivery_job_id",
        "delivery",
        ["job_id"],
        unique=False,
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.create_index("delivery_tenant_id_id", "delivery", ["tenant_id", "id"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("event_pkey")),
    )
    op.create_index("event_tenant_id_id", "event", ["tenant_id", "id"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("batch_name", sa.Text(), nullable=True),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("copy_results_to", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=True),
        sa.Column("retry_of", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("credential_id", sa.Uuid(), nullable=True),
        sa.Column("submit_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lookups", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("upstream_id", sa.Text(), nullable=True),
        sa.Column("absences", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("upstream_delete_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("job_pkey")),
        postgresql_with={
            "fillfactor": "85",
            "autovacuum_vacuum_scale_factor": "0.05",
            "autovacuum_analyze_scale_factor": "0.05",
        },
    )
    op.create_index(
        "job_at_upstream",
        "job",
        ["credential_id", "submitted_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('submitted', 'running')"),
    )
    op.create_index(
        "job_by_upstream_id",
        "job",
        ["credential_id", "upstream_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('submitted', 'running')"),
    )
    op.create_index(
        "job_deadline",
        "job",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('accepted', 'submitting', 'submitted', 'running')"),
    )
    op.create_index(
        "job_idempotency",
        "job",
        ["tenant_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "job_in_doubt",
        "job",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'submitting'"),
    )
    op.create_index(
        "job_in_flight",
        "job",
        ["tenant_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('submitting', 'submitted', 'running')"),
    )
    op.create_index(
        "job_tenant_id_batch_name_id",
        "job",
        ["tenant_id", "batch_name", "id"],
        unique=False,
        postgresql_where=sa.text("batch_name IS NOT NULL"),
    )
    op.create_index("job_tenant_id_id", "job", ["tenant_id", "id"], unique=False)
    op.create_index("job_tenant_id_state_id", "job", ["tenant_id", "state", "id"], unique=False)
    op.create_index(
        "job_to_submit",
        "job",
        ["tenant_id", sa.literal_column("priority DESC"), "id"],
        unique=False,
        postgresql_where=sa.text("state = 'accepted'"),
    )
    op.create_index(
        "job_upstream_delete",
        "job",
        ["upstream_delete_at"],
        unique=False,
        postgresql_where=sa.text("upstream_delete_at IS NOT NULL"),
    )
    op.create_table(
        "job_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("job_event_pkey")),
    )
    op.create_index("job_event_job_id_id", "job_event", ["job_id", "id"], unique=False)
    op.create_table(
        "tenant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("max_queued", sa.Integer(), nullable=True),
        sa.Column("max_in_flight", sa.Integer(), nullable=True),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tenant_pkey")),
        sa.UniqueConstraint("slug", name=op.f("tenant_slug_key")),
    )
    op.create_table(
        "usage_hour",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("wait_seconds", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("run_seconds", sa.DOUBLE_PRECISION(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "hour", "workflow", "status", "error_code", name=op.f("usage_hour_pkey")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "access_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("tenants", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("access_key_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("access_key_pkey")),
        sa.UniqueConstraint("key_id", name=op.f("access_key_key_id_key")),
    )
    op.create_index(op.f("access_key_tenant_id"), "access_key", ["tenant_id"], unique=False)
    op.create_table(
        "credential",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("rejected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejected_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_token", sa.Uuid(), nullable=True),
        sa.Column("list_order", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("pace", sa.Text(), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("credential_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("credential_pkey")),
        sa.UniqueConstraint("tenant_id", "version", name=op.f("credential_tenant_id_version_key")),
    )
    op.create_index(
        "credential_poll_at",
        "credential",
        ["poll_at"],
        unique=False,
        postgresql_where=sa.text("poll_at IS NOT NULL"),
    )
    op.create_table(
        "endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("endpoint_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("endpoint_pkey")),
    )
    op.create_index("endpoint_tenant_id_id", "endpoint", ["tenant_id", "id"], unique=False)
    op.create_table(
        "signing_secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("signing_secret_endpoint_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("signing_secret_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("signing_secret_pkey")),
    )
    op.create_index(
        "signing_secret_tenant_id_endpoint_id",
        "signing_secret",
        ["tenant_id", "endpoint_id"],
        unique=False,
    )


def downgrade() -> None:
    """Revert."""
    op.drop_index("signing_secret_tenant_id_endpoint_id", table_name="signing_secret")
    op.drop_table("signing_secret")
    op.drop_index("endpoint_tenant_id_id", table_name="endpoint")
    op.drop_table("endpoint")
    op.drop_index(
        "credential_poll_at",
        table_name="credential",
        postgresql_where=sa.text("poll_at IS NOT NULL"),
    )
    op.drop_table("credential")
    op.drop_index(op.f("access_key_tenant_id"), table_name="access_key")
    op.drop_table("access_key")
    op.drop_table("usage_hour")
    op.drop_table("tenant")
    op.drop_index("job_event_job_id_id", table_name="job_event")
    op.drop_table("job_event")
    op.drop_index(
        "job_upstream_delete",
        table_name="job",
        postgresql_where=sa.text("upstream_delete_at IS NOT NULL"),
    )
    op.drop_index("job_to_submit", table_name="job", postgresql_where=sa.text("state = 'accepted'"))
    op.drop_index("job_tenant_id_state_id", table_name="job")
    op.drop_index("job_tenant_id_id", table_name="job")
    op.drop_index(
        "job_tenant_id_batch_name_id",
        table_name="job",
        postgresql_where=sa.text("batch_name IS NOT NULL"),
    )
    op.drop_index(
        "job_in_flight",
        table_name="job",
        postgresql_where=sa.text("state IN ('submitting', 'submitted', 'running')"),
    )
    op.drop_index(
        "job_in_doubt", table_name="job", postgresql_where=sa.text("state = 'submitting'")
    )
    op.drop_index(
        "job_idempotency", table_name="job", postgresql_where=sa.text("idempotency_key IS NOT NULL")
    )
    op.drop_index(
        "job_deadline",
        table_name="job",
        postgresql_where=sa.text("state IN ('accepted', 'submitting', 'submitted', 'running')"),
    )
    op.drop_index(
        "job_by_upstream_id",
        table_name="job",
        postgresql_where=sa.text("state IN ('submitted', 'running')"),
    )
    op.drop_index(
        "job_at_upstream",
        table_name="job",
        postgresql_where=sa.text("state IN ('submitted', 'running')"),
    )
    op.drop_table("job")
    op.drop_index("event_tenant_id_id", table_name="event")
    op.drop_table("event")
    op.drop_index("delivery_tenant_id_id", table_name="delivery")
    op.drop_index(
        "delivery_job_id", table_name="delivery", postgresql_where=sa.text("job_id IS NOT NULL")
    )
    op.drop_index(
        "delivery_due", table_name="delivery", postgresql_where=sa.text("state = 'pending'")
    )
    op.drop_table("delivery")
    op.drop_table("audit")
    op.drop_table("attempt")
