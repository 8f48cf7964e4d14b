"""All routes by subject; each group is a tag of the OpenAPI document."""

from typing import Any

from gateway.web.context import declare_inputs
from gateway.web.routes import (
    event_feed,
    health,
    portal_links,
    search,
    upstream_account,
    usage,
    whoami,
)
from gateway.web.routes.admin import access_keys, audit, portal_looks, sessions, status, tenants
from gateway.web.routes.admin import jobs as admin_jobs
from gateway.web.routes.jobs import batch, export, job, list_jobs
from gateway.web.routes.webhooks import bulk, deliveries, endpoints, signing_secrets

Groups = dict[str, list[Any]]

# Under /v1 and /api.
TENANT: Groups = {
    "Jobs": [job.create_job, list_jobs.list_jobs, *job.HANDLERS[1:], *batch.HANDLERS],
    "Endpoints": [*endpoints.HANDLERS, *signing_secrets.HANDLERS],
    "Deliveries": [*deliveries.HANDLERS, *bulk.HANDLERS],
    "Events": event_feed.HANDLERS,
    "Account": [*upstream_account.HANDLERS, usage.get_usage],
    "Search and portal": [*search.HANDLERS, *portal_links.HANDLERS],
}
# Under /admin/v1.
OPERATOR: Groups = {
    "Tenants": [*tenants.HANDLERS, export.export_tenant_data],
    "Keys and operations": [
        *access_keys.HANDLERS,
        *admin_jobs.HANDLERS,
        *audit.HANDLERS,
        *status.HANDLERS,
    ],
    "Search and sessions": [
        *search.OPERATOR_HANDLERS,
        *sessions.HANDLERS,
        *portal_links.OPERATOR_HANDLERS,
        *portal_looks.HANDLERS,
    ],
}
# At the root, without a key.
OPEN: Groups = {"Health": health.HANDLERS, "Public keys": signing_secrets.OPEN_HANDLERS}
# With a key of any kind; at its own path under /v1, /api and /admin/v1.
ANY_KEY: Groups = {"Account": [whoami.read_whoami]}


def flat(groups: Groups) -> list[Any]:
    """The handlers of all groups."""
    return [handler for handlers in groups.values() for handler in handlers]


for _handler in (one for groups in (TENANT, OPERATOR, OPEN, ANY_KEY) for one in flat(groups)):
    declare_inputs(_handler)
