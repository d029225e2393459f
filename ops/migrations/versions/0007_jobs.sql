-- The jobs (ops/docs/jobs.md): one row a job, claimed under a lease, so that it runs once however many schedulers there are; and its runs.
-- Times are the schedulers' clocks, which they pass; these have to agree to some seconds, as a lease is of a minute.

CREATE TABLE job (
  name             text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,63}$'),
  schedule         text NOT NULL,          -- the cron expression that next_run_at was made of
  next_run_at      timestamptz NOT NULL,
  run_id           uuid,                   -- the run under way, if its lease holds …
  holder           text,                   -- … who runs it …
  lease_until      timestamptz,            -- … and until when nobody else does
  last_started_at  timestamptz,            -- of the last run that ended
  last_finished_at timestamptz,
  last_result      text,
  last_detail      jsonb,
  last_success_at  timestamptz,
  CHECK (num_nulls(run_id, holder, lease_until) IN (0, 3))
) WITH (fillfactor = 50);

CREATE TABLE job_run (
  id          uuid PRIMARY KEY,
  name        text NOT NULL REFERENCES job (name),
  started_at  timestamptz NOT NULL,
  finished_at timestamptz,
  result      text CHECK (result IN ('SUCCEEDED', 'FAILED', 'STOPPED', 'LOST')),  -- STOPPED by its process's end; LOST with its process
  detail      jsonb,
  holder      text NOT NULL,
  by_hand     boolean NOT NULL,
  CHECK ((finished_at IS NULL) = (result IS NULL))
);
CREATE INDEX job_run_started ON job_run (name, started_at);

GRANT SELECT, INSERT, UPDATE ON job TO hyrelog_scheduler;
GRANT SELECT, INSERT, DELETE ON job_run TO hyrelog_scheduler;
GRANT UPDATE (finished_at, result, detail) ON job_run TO hyrelog_scheduler;
GRANT SELECT ON job, job_run TO hyrelog_admin;
