"""All routes by what they are about; each group is a tag of the OpenAPI document."""

from typing import Any

from gateway.web import (
    account,
    admin_audit,
    admin_jobs,
    admin_keys,
    admin_tenants,
    batch,
    bulk,
    deliveries,
    endpoints,
    export,
    feed,
    health,
    jobs,
    listing,
    secrets,
    status,
    whoami,
)

Groups = dict[str, list[Any]]

# Under /v1 and /api.
TENANT: Groups = {
    "Jobs": [jobs.make_job, listing.list_jobs, *jobs.HANDLERS[1:], *batch.HANDLERS],
    "Endpoints": [*endpoints.HANDLERS, *secrets.HANDLERS],
    "Deliveries": [*deliveries.HANDLERS, *bulk.HANDLERS],
    "Events": feed.HANDLERS,
    "Account": account.HANDLERS,
}
# Under /admin/v1.
OPERATOR: Groups = {
    "Tenants": [*admin_tenants.HANDLERS, export.take_tenant],
    "Keys and operations": [
        *admin_keys.HANDLERS,
        *admin_jobs.HANDLERS,
        *admin_audit.HANDLERS,
        *status.HANDLERS,
    ],
}
# At the root, without a key.
OPEN: Groups = {"Health": health.HANDLERS, "Public keys": secrets.OPEN_HANDLERS}
# With a key of any kind, at paths of its own in each face.
ANY_KEY: Groups = {"Account": [whoami.read_whoami]}


def flat(groups: Groups) -> list[Any]:
    """The handlers of all groups."""
    return [handler for handlers in groups.values() for handler in handlers]
