"""History: indexes and labels that lists of jobs are read by.

A large table takes a while: about a minute for a million jobs, mostly in small steps that do not block
other work. Until it is done, filters by name, batch, metadata and error code miss older jobs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_LISTED = "deleted_at IS NULL"
_ENDED = "completed_at IS NOT NULL AND deleted_at IS NULL"
_INDEXES = (
    ("job_listed", ["tenant_id", "state", "id"], _LISTED),
    ("job_listed_of_all", ["state", "id"], _LISTED),
    ("job_by_workflow", ["workflow", "tenant_id", "state", "id"], _LISTED),
    ("job_ended", ["tenant_id", "completed_at", "id"], _ENDED),
    ("job_ended_of_all", ["completed_at", "tenant_id", "id"], _ENDED),
)
_BEFORE = (
    ("job_tenant_id_state_id", ["tenant_id", "state", "id"], None),
    ("job_tenant_id_batch_name_id", ["tenant_id", "batch_name", "id"], "batch_name IS NOT NULL"),
)
# The same texts are in store/job_search/filter.py. The length of the key separates the key from its value.
_TEXTS = """
CREATE OR REPLACE FUNCTION job_label_texts(name text, batch_name text, error json, metadata jsonb)
RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 6 AS $$
  SELECT 'name:' || name
  UNION ALL SELECT 'batch:' || batch_name WHERE batch_name IS NOT NULL
  UNION ALL SELECT 'error:' || (error->>'code') WHERE error->>'code' IS NOT NULL
  UNION ALL SELECT 'metadata:' || length(key) || ':' || key || value FROM jsonb_each_text(metadata)
    WHERE value IS NOT NULL $$"""
_TRIGGERS = {
    "job_label_add": (
        """
  INSERT INTO job_label SELECT hashtextextended(t.text, 0), j.tenant_id, j.id
  FROM made j, job_label_texts(j.name, j.batch_name, j.error, j.metadata) AS t(text)
  WHERE j.deleted_at IS NULL;
  RETURN NULL;""",
        "AFTER INSERT ON job REFERENCING NEW TABLE AS made FOR EACH STATEMENT",
    ),
    "job_label_fail": (
        """
  INSERT INTO job_label
  VALUES (hashtextextended('error:' || (NEW.error->>'code'), 0), NEW.tenant_id, NEW.id);
  RETURN NULL;""",
        (
            "AFTER UPDATE OF error ON job FOR EACH ROW WHEN (OLD.error IS NULL AND"
            " NEW.error->>'code' IS NOT NULL AND NEW.deleted_at IS NULL)"
        ),
    ),
    "job_label_hide": (
        """
  DELETE FROM job_label WHERE tenant_id = OLD.tenant_id AND job_id = OLD.id AND label IN
    (SELECT hashtextextended(t.text, 0)
     FROM job_label_texts(OLD.name, OLD.batch_name, OLD.error, OLD.metadata) AS t(text));
  RETURN NULL;""",
        (
            "AFTER UPDATE OF deleted_at ON job FOR EACH ROW"
            " WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)"
        ),
    ),
    "job_label_drop": (
        """
  DELETE FROM job_label l
  USING gone j, job_label_texts(j.name, j.batch_name, j.error, j.metadata) AS t(text)
  WHERE j.deleted_at IS NULL AND l.label = hashtextextended(t.text, 0)
    AND l.tenant_id = j.tenant_id AND l.job_id = j.id;
  RETURN NULL;""",
        "AFTER DELETE ON job REFERENCING OLD TABLE AS gone FOR EACH STATEMENT",
    ),
}
_POLICY = """
CREATE POLICY of_tenant ON job_label USING (
  (SELECT COALESCE(current_setting('gateway.tenants', true), '') = ''
    AND current_user <> 'gateway_tenant')
  OR tenant_id = ANY ((SELECT string_to_array(current_setting('gateway.tenants', true), ',')::uuid[])::uuid[]))"""
# The labels of existing jobs, a few thousand at a time, so that no lock is held for long.
_FILL = """
WITH next AS MATERIALIZED (
  SELECT id, tenant_id, name, batch_name, error, metadata, deleted_at FROM job
  WHERE id > CAST(:after AS uuid) ORDER BY id LIMIT 5000
), filled AS (
  INSERT INTO job_label
  SELECT l.label, j.tenant_id, j.id FROM next j
  CROSS JOIN LATERAL (SELECT hashtextextended(t.text, 0) AS label
    FROM job_label_texts(j.name, j.batch_name, j.error, j.metadata) AS t(text)) AS l
  WHERE j.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM job_label k
    WHERE k.label = l.label AND k.tenant_id = j.tenant_id AND k.job_id = j.id)
  ORDER BY l.label
)
SELECT id FROM next ORDER BY id DESC LIMIT 1"""


def upgrade() -> None:
    """Apply, one lock at a time. After a failure, the steps that were done are skipped the next time."""
    with op.get_context().autocommit_block():
        _create_labels()
        for name, columns, where in _INDEXES:
            op.create_index(
                name,
                "job",
                columns,
                postgresql_where=sa.text(where),
                postgresql_concurrently=True,
                if_not_exists=True,
            )
        _fill_labels()
        for name, _, _ in _BEFORE:
            op.drop_index(name, "job", postgresql_concurrently=True, if_exists=True)


def _create_labels() -> None:
    op.create_table(
        "job_label",
        sa.Column("label", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        if_not_exists=True,
    )
    op.create_index(
        "job_label_label_tenant_id_job_id",
        "job_label",
        ["label", "tenant_id", "job_id"],
        if_not_exists=True,
    )
    op.execute("DROP POLICY IF EXISTS of_tenant ON job_label")
    op.execute(_POLICY)
    op.execute("ALTER TABLE job_label ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE job_label FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT, DELETE ON job_label TO gateway_tenant")
    op.execute(_TEXTS)
    for name, (body, when) in _TRIGGERS.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN{body} END $$"
        )
        op.execute(f"CREATE OR REPLACE TRIGGER {name} {when} EXECUTE FUNCTION {name}()")


def _fill_labels() -> None:
    # One index probe for each label: hashing the whole table in every step would take hours.
    ways = [f"enable_{name}" for name in ("hashjoin", "mergejoin", "seqscan")]
    for way in ways:
        op.execute(f"SET {way} = off")
    after: object = "00000000-0000-0000-0000-000000000000"
    while after is not None:
        after = op.get_bind().execute(sa.text(_FILL), {"after": str(after)}).scalar()
    for way in ways:
        op.execute(f"RESET {way}")


def downgrade() -> None:
    """Revert."""
    for name, columns, where in _BEFORE:
        op.create_index(name, "job", columns, postgresql_where=sa.text(where) if where else None)
    for name, _, _ in reversed(_INDEXES):
        op.drop_index(name, "job")
    for name in _TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON job")
        op.execute(f"DROP FUNCTION {name}")
    op.execute("DROP FUNCTION job_label_texts")
    op.drop_table("job_label")
