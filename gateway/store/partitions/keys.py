"""Idempotency keys over partitions: a table and two triggers, which exist only while the jobs are partitioned.

A unique index of a partitioned table must contain the id, so none can hold a key unique over all months. Here
each insert of a job with a key first takes the key in `job_key`; where another job has it, the trigger leaves
the row out, exactly as `ON CONFLICT DO NOTHING` does with the unique index of the single table. So the
statement that inserts jobs is the same in both modes, and the answer of a repeated key as well. Jobs from
before the switch are not in `job_key`: they are found by the unique index of their own partition.
"""

TABLE = "job_key"
CREATE = f"""
CREATE TABLE {TABLE} (tenant_id uuid NOT NULL, idempotency_key text NOT NULL, job_id uuid NOT NULL,
  CONSTRAINT {TABLE}_pkey PRIMARY KEY (tenant_id, idempotency_key))"""
_HELD_BEFORE = """
  IF EXISTS (SELECT 1 FROM job_old j WHERE j.tenant_id = NEW.tenant_id
      AND j.idempotency_key = NEW.idempotency_key) THEN
    RETURN NULL;
  END IF;"""
# Each statement of the function has a snapshot of its own, so after it has waited for another insert of the
# key it sees that job. A key whose job was pruned is taken over.
_CLAIM = """
CREATE OR REPLACE FUNCTION job_key_claim() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE held uuid; BEGIN{held_before}
  LOOP
    INSERT INTO job_key VALUES (NEW.tenant_id, NEW.idempotency_key, NEW.id) ON CONFLICT DO NOTHING;
    IF FOUND THEN RETURN NEW; END IF;
    SELECT k.job_id INTO held FROM job_key k
    WHERE k.tenant_id = NEW.tenant_id AND k.idempotency_key = NEW.idempotency_key;
    CONTINUE WHEN NOT FOUND;
    IF EXISTS (SELECT 1 FROM job j WHERE j.id = held) THEN RETURN NULL; END IF;
    UPDATE job_key SET job_id = NEW.id WHERE tenant_id = NEW.tenant_id
      AND idempotency_key = NEW.idempotency_key AND job_id = held;
    IF FOUND THEN RETURN NEW; END IF;
  END LOOP;
END $$"""
_DROP = """
CREATE OR REPLACE FUNCTION job_key_drop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  DELETE FROM job_key k USING gone j WHERE j.idempotency_key IS NOT NULL
    AND k.tenant_id = j.tenant_id AND k.idempotency_key = j.idempotency_key AND k.job_id = j.id;
  RETURN NULL; END $$"""
_TRIGGERS = (
    """
CREATE TRIGGER job_key_claim BEFORE INSERT ON job FOR EACH ROW
WHEN (NEW.idempotency_key IS NOT NULL) EXECUTE FUNCTION job_key_claim()""",
    """
CREATE TRIGGER job_key_drop AFTER DELETE ON job REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION job_key_drop()""",
)
TRIGGER_NAMES = frozenset({"job_key_claim", "job_key_drop"})
REMOVE = (
    f"DROP TABLE {TABLE}",
    "DROP FUNCTION job_key_claim()",
    "DROP FUNCTION job_key_drop()",
)


def claim_function(*, has_old: bool) -> str:
    """The statement that makes the function of the trigger; `has_old`: there are jobs from before the switch."""
    return _CLAIM.format(held_before=_HELD_BEFORE if has_old else "")


def install() -> tuple[str, ...]:
    """The statements that make functions and triggers; the tables exist."""
    return (claim_function(has_old=True), _DROP, *_TRIGGERS)
