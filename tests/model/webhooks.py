"""What must hold of events, deliveries and attempts at every moment; breaches told in words."""

import json
from collections import Counter
from collections.abc import Iterator

from gateway.core.events import (
    ENDPOINT_DISABLED,
    JOB_DELETED,
    JOB_FAILED,
    JOB_STARTED,
    JOB_SUCCEEDED,
)
from tests.model.books import Row
from tests.model.scene import Scene

_END_EVENTS = {"succeeded": JOB_SUCCEEDED, "failed": JOB_FAILED, "expired": JOB_FAILED}
_DELIVERY_MOVES = {
    "pending": {"pending", "delivered", "exhausted", "parked"},
    "delivered": {"delivered"},
    "exhausted": {"exhausted"},
    "parked": {"parked", "exhausted"},
}


def _events(scene: Scene) -> Iterator[str]:
    """One event for each end, none before it, one for a deletion, at most one for a start."""
    seen = Counter((event["job_id"], event["type"]) for event in scene.rows.rows["event"])
    for id_, job in scene.rows.jobs.items():
        wanted = {
            kind: int(_END_EVENTS.get(job["state"]) == kind) for kind in (JOB_SUCCEEDED, JOB_FAILED)
        }
        wanted[JOB_DELETED] = int(job["deleted_at"] is not None)
        for kind, times in wanted.items():
            if seen[id_, kind] != times:
                yield f"job {id_} is {job['state']} with {seen[id_, kind]} of {kind}, not {times}"
        if seen[id_, JOB_STARTED] > 1:
            yield f"job {id_} started {seen[id_, JOB_STARTED]} times"


def _fan_out(scene: Scene) -> Iterator[str]:
    """An event comes with all its deliveries, and gets no others later."""
    for id_, event in scene.rows.events.items():
        owed = scene.rows.owed.get(id_, [])
        if id_ not in scene.before.events:
            wanted, got = _receivers(scene, event), Counter(d["endpoint_id"] for d in owed)
            if wanted != got:
                yield f"event {id_} {event['type']} is owed to {got}, not to {wanted}"
        elif {d["id"] for d in owed} != {d["id"] for d in scene.before.owed.get(id_, [])}:
            yield f"event {id_} {event['type']} is owed to others than before"


def _receivers(scene: Scene, event: Row) -> Counter[object]:
    """The endpoints that an event is owed to; None for the job's own callback."""
    about = json.loads(event["body"])["data"].get("endpoint", {}).get("id")
    found = Counter[object](
        endpoint["id"]
        for endpoint in scene.rows.rows["endpoint"]
        if endpoint["tenant_id"] == event["tenant_id"]
        and endpoint["deleted_at"] is None
        and (not endpoint["events"] or event["type"] in endpoint["events"])
        and not (event["type"] == ENDPOINT_DISABLED and about == str(endpoint["id"]))
    )
    job = scene.rows.jobs.get(event["job_id"])
    if job and job["callback_url"] and event["type"] != JOB_STARTED:
        found[None] += 1
    return found


def _deliveries(scene: Scene) -> Iterator[str]:
    """A delivery that ended stays so, and for a reason; what is delivered was taken."""
    urls = {row["id"]: row["url"] for row in scene.rows.rows["endpoint"]}
    # What is parked from its beginning has its reason in the endpoint.
    disabled = {row["id"] for row in scene.rows.rows["endpoint"] if row["disabled_at"]}
    for id_, new in scene.rows.deliveries.items():
        old = scene.before.deliveries.get(id_, {"state": "pending", "attempts": 0})
        if new["state"] not in _DELIVERY_MOVES[old["state"]]:
            yield f"delivery {id_} went from {old['state']} to {new['state']}"
        is_explained = new["last_error"] or new["endpoint_id"] in disabled
        if new["state"] in ("exhausted", "parked") and not is_explained:
            yield f"delivery {id_} is {new['state']} for no reason"
        url = new["url"] or urls[new["endpoint_id"]]
        is_taken = str(new["event_id"]) in scene.receivers.at[url].taken
        if new["state"] == "delivered" and not is_taken:
            yield f"delivery {id_} says delivered, and nobody took it"


def _attempts(scene: Scene) -> Iterator[str]:
    for attempt in scene.rows.rows["attempt"]:
        delivery = scene.rows.deliveries[attempt["delivery_id"]]
        name = f"attempt {attempt['number']} of {delivery['id']}"
        if json.loads(attempt["request_headers"])["webhook-id"] != str(delivery["event_id"]):
            yield f"{name} has another webhook id"
        if attempt["number"] > delivery["attempts"]:
            yield f"{name} is one of {delivery['attempts']}"
        if scene.receivers.at[attempt["url"]].slug != scene.rows.slugs[attempt["tenant_id"]]:
            yield f"{name} went to another tenant"


RULES = (_events, _fan_out, _deliveries, _attempts)
