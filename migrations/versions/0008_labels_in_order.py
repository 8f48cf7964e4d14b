"""Insert the labels of new jobs in the order of their index, so that equal labels are adjacent."""

from collections.abc import Sequence

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_ADD = """
CREATE OR REPLACE FUNCTION job_label_add() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO job_label SELECT hashtextextended(t.text, 0), j.tenant_id, j.id
  FROM made j, job_label_texts(j.name, j.batch_name, j.error, j.metadata) AS t(text)
  WHERE j.deleted_at IS NULL{order};
  RETURN NULL; END $$"""


def upgrade() -> None:
    """Apply."""
    op.execute(_ADD.format(order="\n  ORDER BY 1"))


def downgrade() -> None:
    """Revert."""
    op.execute(_ADD.format(order=""))
