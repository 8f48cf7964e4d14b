"""The tenant that a list is limited to: the session's own, or the one that the URL names."""

from uuid import UUID

from gateway.console.view import View
from gateway.errors import BadRequest, NotFound
from gateway.flows.admin.tenants import tenant_ids


async def chosen_tenant(view: View, slugs: list[str]) -> UUID | None:
    """The id of the tenant; None for all of them, which only staff may see. Raises BadRequest, NotFound."""
    own = view.signed_in.tenant
    if own is not None:
        return own.id
    if len(slugs) > 1:
        raise BadRequest.of("tenant", "must be one tenant")
    if not slugs:
        return None
    found = await tenant_ids(view.deps, slugs)
    if not found:
        raise NotFound("There is no such tenant.")
    return found[0]
