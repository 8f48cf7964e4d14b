"""Parts of SQL that several statements share.

Names of states are literals and not parameters: a partial index is used only where the statement
repeats its condition.
"""

from typing import Final

# Jobs that have not ended.
OPEN_STATES: Final = "('accepted', 'submitting', 'submitted', 'running')"
# Jobs that the upstream works on.
UPSTREAM_STATES: Final = "('submitted', 'running')"
# The newest version of the credential of a tenant `t`: the one that new jobs are submitted with.
LATEST_CREDENTIAL: Final = """LATERAL (SELECT * FROM credential c WHERE c.tenant_id = t.id
    ORDER BY c.version DESC LIMIT 1)"""


def is_rested(table: str) -> str:
    """Whether a credential or an endpoint is not paused, or its pause is over."""
    return f"({table}.paused_until IS NULL OR {table}.paused_until <= now())"


def is_served(endpoint: str) -> str:
    """Whether an endpoint is neither disabled nor deleted; true where there is no endpoint at all."""
    return f"{endpoint}.disabled_at IS NULL AND {endpoint}.deleted_at IS NULL"
