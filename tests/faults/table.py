"""The faults that a deployment meets, by number, and what injects each.

That is a test in a file drills/drill_*.py, or the crash points of test_crash_points.py.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the tests that inject it, by file and beginning of name, and its crash points."""

    name: str
    file: str = ""
    tests: tuple[str, ...] = ()
    points: tuple[str, ...] = ()


FAULTS: dict[int, Fault] = {
    1: Fault(
        "worker killed before a submit",
        "processes",
        ("the_work_of_a_killed_worker",),
        ("submit.claimed", "poll.claimed", "doubt.claimed", "deliver.claimed"),
    ),
    2: Fault("worker killed after a submit", points=("submit.sent", "submit.recorded")),
    3: Fault(
        "worker killed while an end is stored",
        points=("settle.finished", "settle.published", "poll.settled", "poll.committed"),
    ),
    4: Fault("worker killed after a delivery", points=("deliver.sent", "deliver.recorded")),
    5: Fault("processes stopped by SIGTERM", "processes", ("sigterm",)),
    6: Fault("worker frozen", "processes", ("a_frozen_worker",)),
    7: Fault("Valkey emptied", "valkey", ("flushall",)),
    8: Fault("Valkey away", "valkey", ("valkey_dies", "the_link_to_valkey_stalls")),
    9: Fault("Valkey full", "valkey", ("valkey_is_full",)),
    10: Fault("Valkey read-only", "valkey", ("valkey_is_a_replica",)),
    11: Fault(
        "Postgres away",
        "postgres",
        ("postgres_is_killed", "all_backends", "lost_connections", "the_link_to_postgres"),
    ),
    12: Fault("outcome of a commit unknown", "postgres", ("the_connection_is_lost_at",)),
    13: Fault("Postgres busy", "postgres", ("somebody_holds_a_lock", "deadlocks", "more_requests")),
    14: Fault("disk full", "disk", ("the_disk_of_the_tables", "the_disk_of_the_log")),
    15: Fault("upstream away", "upstream", ("a_burst", "no_storm", "the_upstream_is_away")),
    16: Fault("upstream limits", "upstream", ("told_to_wait",)),
    17: Fault("answer lost", "upstream", ("the_answer_is_lost", "the_link_to_the_upstream")),
    18: Fault("credential revoked", "upstream", ("a_revoked_credential", "jobs_at_the_upstream")),
    19: Fault("polls that lie", "upstream", ("polls_that_lie",)),
    20: Fault("garbage from the upstream", "upstream", ("answers_that_are_garbage",)),
    21: Fault("receiver hangs", "receivers", ("a_receiver_hangs",)),
    22: Fault("receiver drips, floods, bombs", "hostile", ("receivers_drip",)),
    23: Fault("receiver redirects inside", "hostile", ("redirects",)),
    24: Fault("names and addresses that lead inside", "hostile", ("names_and_addresses",)),
    25: Fault("TLS broken", "hostile", ("tls_is_broken",)),
    26: Fault("receiver fails", "receivers", ("a_receiver", "the_answer", "the_link")),
    27: Fault("noisy neighbour", "neighbour", ("a_dead_endpoint",)),
    28: Fault(
        "endpoint changed under way",
        "receivers",
        ("an_endpoint_is_deleted", "the_url_changes", "the_secret_is_rotated", "what_a_disabled"),
    ),
    29: Fault("clock wrong", "processes", ("the_clock_of_one_worker",)),
    30: Fault("several sweepers", "processes", ("three_sweepers",)),
    31: Fault("wake-ups doubled and lost", "valkey", ("wake_ups",)),
    32: Fault("poison", "poison", ("a_job", "a_delivery", "a_secret", "a_result")),
    33: Fault("master key wrong", "processes", ("a_worker_with_the_wrong_master_key",)),
    34: Fault("out of files", "processes", ("the_api_runs_out", "a_worker_runs_out")),
    35: Fault("deploy", "deploy", ("tables_grow", "what_newer_code")),
    36: Fault("one key many times at once", "processes", ("one_key_fifty_times",)),
    37: Fault("restore from a backup", "restore", ("a_restored_backup",)),
    38: Fault("sweeps amid claims", "busy", ("a_steady_load",)),
    39: Fault("doubt among many jobs", "busy", ("a_submit_in_doubt",)),
    40: Fault("ends behind many jobs", "busy", ("ends_deep_in_a_list",)),
    41: Fault("sweep, kill and lost answer in a burst", "busy", ("a_burst_through",)),
    42: Fault("receiver hangs amid a backlog", "busy", ("a_receiver_hangs",)),
    43: Fault("Valkey fails over", "valkey", ("a_replica_takes_over",)),
    44: Fault("one of two of each killed", "processes", ("one_of_two_of_each",)),
    45: Fault("upgrade of the schema", "upgrade", ("old_code",)),
    46: Fault("downgrade of the schema", "upgrade", ("the_schema_goes_back",)),
    47: Fault("partitions on and off", "upgrade", ("the_jobs_are_partitioned",)),
}
