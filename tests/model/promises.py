"""What must hold at every moment, and what must hold once all is healed; breaches told in words."""

from collections import Counter
from collections.abc import Iterator

from gateway.core.model import STATE_STATUS, TERMINAL, JobState
from tests.model import webhooks
from tests.model.books import Row, code_of
from tests.model.scene import Scene

# A job may go back and forth within a rank, and never to a lower one.
_RANKS = {"accepted": 0, "submitting": 0, "submitted": 1, "running": 2}
_END_RANK = 3
_GIVEN_UP_AFTER = 2  # answers that kept a job from us


def breaches(scene: Scene) -> list[str]:
    """What does not hold now."""
    rules = (
        _outside,
        _accepted,
        _onward,
        _justified,
        _once,
        _usage,
        _tenancy,
        *webhooks.RULES,
    )
    return [breach for rule in rules for breach in rule(scene)]


def unfinished(scene: Scene) -> list[str]:
    """What is not at its end, though all is healed and has come to rest."""
    return [breach for rule in (_open, _left_upstream) for breach in rule(scene)]


def is_end(job: Row) -> bool:
    return job["state"] in TERMINAL


def _outside(scene: Scene) -> Iterator[str]:
    yield from scene.upstream.breaches
    yield from scene.receivers.breaches


def _accepted(scene: Scene) -> Iterator[str]:
    for id_, asked in scene.books.asked.items():
        job = scene.rows.jobs.get(id_)
        if asked.is_promised and job is None:
            yield f"job {id_} was accepted and is lost"
        if job and scene.rows.slugs[job["tenant_id"]] != asked.slug:
            yield f"job {id_} of {asked.slug} is another tenant's"
        if job and job["deleted_at"] and not asked.may_be_deleted:
            yield f"job {id_} is deleted, and nobody asked for it"
        if job and asked.was_deleted and not job["deleted_at"]:
            yield f"job {id_} was deleted, and is there"
    for id_ in scene.rows.jobs.keys() - scene.books.asked.keys():
        yield f"job {id_} was never asked for"


def _onward(scene: Scene) -> Iterator[str]:
    for id_, old in scene.before.jobs.items():
        new = scene.rows.jobs.get(id_)
        if new is None:
            yield f"job {id_} vanished"
            continue
        if new["version"] < old["version"]:
            yield f"job {id_} went back from version {old['version']} to {new['version']}"
        if new["state"] != old["state"] and new["version"] == old["version"]:
            yield f"job {id_} is {new['state']} after {old['state']} under one version"
        if _RANKS.get(new["state"], _END_RANK) < _RANKS.get(old["state"], _END_RANK):
            yield f"job {id_} went back from {old['state']} to {new['state']}"
        if is_end(old):
            yield from _unchanged(old, new)


def _unchanged(old: Row, new: Row) -> Iterator[str]:
    names = ["state", "error", "completed_at"]
    if new["deleted_at"] == old["deleted_at"]:
        names.append("result")
    for name in names:
        if new[name] != old[name]:
            yield f"job {new['id']} ended, and its {name} changed from {old[name]} to {new[name]}"


def _justified(scene: Scene) -> Iterator[str]:
    """An end has its reason in what the upstream, the clock or the tenant did."""
    for id_, job in scene.rows.jobs.items():
        if is_end(job) and not _has_reason(scene, job):
            yield f"job {id_} is {job['state']} {code_of(job)} for no reason"


def _has_reason(scene: Scene, job: Row) -> bool:
    theirs = scene.upstream.jobs.get(job["upstream_id"])
    been = theirs.statuses if theirs and theirs.marker == str(job["id"]) else []
    match JobState(job["state"]):
        case JobState.SUCCEEDED:
            return "SUCCEEDED" in been
        case JobState.EXPIRED:
            return job["deadline_at"] <= scene.now
        case JobState.CANCELLED:
            return job["deleted_at"] is not None
        case _:
            return "FAILED" in been or _was_given_up(scene, job)


def _was_given_up(scene: Scene, job: Row) -> bool:
    marker, slug = str(job["id"]), scene.rows.slugs[job["tenant_id"]]
    match code_of(job):
        case "UPSTREAM_LOST" | "UPSTREAM_UNREADABLE":
            evaded = scene.upstream.evaded[marker] >= _GIVEN_UP_AFTER
            return evaded or slug in scene.upstream.denied
        case "GATEWAY_FAULT":
            return scene.books.was_disturbed
        case _:
            return marker in scene.upstream.refused


def _once(scene: Scene) -> Iterator[str]:
    """At most one upstream job for each of ours, where lists did not lag for too long."""
    takes = Counter(job.marker for job in scene.upstream.jobs.values())
    for marker, times in takes.items():
        if times > 1 and marker not in scene.upstream.unlisted:
            yield f"job {marker} is {times} jobs upstream"


def _usage(scene: Scene) -> Iterator[str]:
    """Each ended job is counted once."""
    ended = Counter(
        (job["tenant_id"], job["workflow"], STATE_STATUS[JobState(job["state"])])
        for job in scene.rows.rows["job"]
        if is_end(job)
    )
    for table in ("usage_hourly", "usage_daily"):
        counted = {
            (row["tenant_id"], row["workflow"], row["status"]): row["jobs"]
            for row in scene.rows.rows[table]
        }
        if ended != counted:
            yield f"{table} counts {counted}, and these ended: {dict(ended)}"


def _tenancy(scene: Scene) -> Iterator[str]:
    """No row of one tenant belongs to something of another."""
    parents = (
        ("event", "job_id", scene.rows.jobs),
        ("delivery", "event_id", scene.rows.events),
        ("delivery", "endpoint_id", scene.rows.by_id("endpoint")),
        ("attempt", "delivery_id", scene.rows.deliveries),
        ("note", "job_id", scene.rows.jobs),
    )
    for table, column, owners in parents:
        for row in scene.rows.rows[table]:
            owner = owners.get(row[column])
            if row[column] and (owner is None or owner["tenant_id"] != row["tenant_id"]):
                yield f"{table} of {column} {row[column]} is not its tenant's"


def _open(scene: Scene) -> Iterator[str]:
    for id_, job in scene.rows.jobs.items():
        if not is_end(job):
            yield f"job {id_} is {job['state']}, not at its end"
        if job["upstream_delete_at"]:
            yield f"job {id_} is still to be deleted upstream"
    for id_, delivery in scene.rows.deliveries.items():
        if delivery["state"] == "pending":
            yield f"delivery {id_} is pending: {delivery['last_error']}"


def _left_upstream(scene: Scene) -> Iterator[str]:
    """What is deleted here is deleted there."""
    for job in scene.upstream.jobs.values():
        ours = next(row for id_, row in scene.rows.jobs.items() if str(id_) == job.marker)
        if ours["deleted_at"] and not job.is_gone and job.marker not in scene.upstream.unlisted:
            yield f"job {job.marker} is deleted, and still upstream as {job.upstream_id}"
