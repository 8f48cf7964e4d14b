"""The filter of deliveries, and its conditions in SQL."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

DELIVERED = "delivered"
# Stands for all tenants, in lists of staff alone. Where row-level security binds, it selects no row.
ALL_TENANTS = UUID(int=0)
_SLACK_SECONDS = 3600.0
_LAST_MILLISECOND = 2**48 - 1


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """A filter of the deliveries of a tenant. An empty tuple does not filter.

    An outcome is that of the last attempt: `delivered`, or the class of its error. Statuses are those of
    failures. `callbacks` selects the deliveries to the callback URLs of jobs, which have no endpoint.
    """

    tenant_id: UUID
    endpoints: tuple[UUID, ...] = ()
    states: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    jobs: tuple[UUID, ...] = ()
    outcomes: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    resent_after: datetime | None = None
    statuses: tuple[int, ...] = ()
    callbacks: bool = False


def conditions_of(
    wanted: DeliveryFilter, before: UUID | None = None, after: UUID | None = None
) -> tuple[list[str], list[object]]:
    """The conditions on a delivery `d`, joined by AND, and their arguments. The two ids are exclusive."""
    is_of_all = wanted.tenant_id == ALL_TENANTS
    arguments: list[object] = [] if is_of_all else [wanted.tenant_id]
    conditions = ["TRUE" if is_of_all else "d.tenant_id = $1"]
    alone = len(wanted.endpoints) == 1  # with = instead of ANY an index returns the order as well
    choices: list[tuple[str, object]] = [
        ("d.endpoint_id = $::uuid", wanted.endpoints[0] if alone else None),
        ("d.endpoint_id = ANY($::uuid[])", None if alone else list(wanted.endpoints)),
        ("d.state = ANY($::text[])", list(wanted.states)),
        ("d.type = ANY($::text[])", list(wanted.events)),
        ("d.job_id = ANY($::uuid[])", list(wanted.jobs)),
        ("(d.last_class = ANY($::text[])" + _or_delivered(wanted) + ")", list(wanted.outcomes)),
        ("d.last_status = ANY($::int[])", list(wanted.statuses)),
        ("d.created_at >= $", wanted.created_after),
        ("d.created_at < $", wanted.created_before),
        ("d.id >= $", _id_at(wanted.created_after, -_SLACK_SECONDS)),
        ("d.id < $", _id_at(wanted.created_before, _SLACK_SECONDS)),
        ("d.resent_at > $", wanted.resent_after),
        ("d.id < $", before),
        ("d.id > $", after),
    ]
    for condition, value in choices:
        if value:
            arguments.append(value)
            conditions.append(condition.replace("$", f"${len(arguments)}"))
    if wanted.callbacks:
        conditions.append("d.endpoint_id IS NULL")
    return conditions, arguments


def _or_delivered(wanted: DeliveryFilter) -> str:
    return " OR d.state = 'delivered'" if DELIVERED in wanted.outcomes else ""


def _id_at(at: datetime | None, slack: float) -> UUID | None:
    """The first id of a time plus `slack` seconds, as the clocks that make ids differ from the database's."""
    if at is None:
        return None
    milliseconds = int((at.timestamp() + slack) * 1000)
    return UUID(int=min(max(milliseconds, 0), _LAST_MILLISECOND) << 80)
