-- Queries of the jobs' book-keeping, in the role hyrelog_scheduler. Times are the callers'.

-- name: plan_job
-- A job with its schedule, and when it is next due by that; what is due already stays so when its schedule changes. With $5, what is planned stays as it is.
INSERT INTO job AS j (name, schedule, next_run_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET schedule = excluded.schedule,
  next_run_at = CASE WHEN j.next_run_at <= $4::timestamptz THEN j.next_run_at ELSE excluded.next_run_at END
WHERE j.schedule <> excluded.schedule AND NOT $5::boolean

-- name: is_demo
-- Whether time may be moved here.
SELECT is_demo FROM database_region

-- name: jobs
-- How every job stands.
SELECT name, schedule, next_run_at, run_id, holder, lease_until, last_started_at, last_finished_at, last_result, last_detail, last_success_at,
       (SELECT r.started_at FROM job_run r WHERE r.id = j.run_id) AS running_since
FROM job j ORDER BY name

-- name: claim
-- Take the job $1 at the time $2 as run $3, until $5: if nobody has it, or his lease is over, and it is due or asked for by hand ($6).
WITH held AS (
  SELECT name, run_id FROM job
  WHERE name = $1 AND ($6::boolean OR next_run_at <= $2::timestamptz) AND (lease_until IS NULL OR lease_until <= $2)
  FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE job SET run_id = $3, holder = $4, lease_until = $5 FROM held WHERE job.name = held.name
), lost AS (
  UPDATE job_run SET finished_at = $2, result = 'LOST' FROM held WHERE job_run.id = held.run_id AND job_run.finished_at IS NULL
)
INSERT INTO job_run (id, name, started_at, holder, by_hand) SELECT $3, name, $2, $4, $6 FROM held RETURNING id

-- name: beat
-- Keep the job, if it is still this run's.
UPDATE job SET lease_until = $3 WHERE name = $1 AND run_id = $2 RETURNING name

-- name: finish
-- How the run $2 ended, if the job is still its own; $6 is when it is next due, null: as before. Runs older than $7 are forgotten.
WITH ended AS (
  UPDATE job j
  SET run_id = NULL, holder = NULL, lease_until = NULL, next_run_at = coalesce($6::timestamptz, j.next_run_at), last_started_at = r.started_at,
      last_finished_at = $3, last_result = $4, last_detail = $5::jsonb,
      last_success_at = CASE WHEN $4::text = 'SUCCEEDED' THEN $3 ELSE j.last_success_at END
  FROM job_run r
  WHERE j.name = $1 AND j.run_id = $2 AND r.id = $2
  RETURNING j.name
), old AS (
  DELETE FROM job_run r USING ended WHERE r.name = ended.name AND r.started_at < $7::timestamptz
)
UPDATE job_run SET finished_at = $3, result = $4, detail = $5::jsonb FROM ended WHERE job_run.id = $2 RETURNING job_run.id
