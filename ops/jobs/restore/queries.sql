-- Queries of the restore jobs, in the role hyrelog_scheduler.

-- name: to_start
-- The next requests, by id, that are approved, or were being started when their process died; and any whose part is being removed.
SELECT r.*, p.expiring_at IS NOT NULL AS is_expiring
FROM restore_request r JOIN archive_part p ON p.id = r.part_id
WHERE r.state IN ('PENDING', 'APPROVED', 'INITIATING') AND (r.state <> 'PENDING' OR p.expiring_at IS NOT NULL) AND r.id > $1
ORDER BY r.id LIMIT $2

-- name: to_check
-- The next requests, by id, whose objects the store is fetching.
SELECT r.*, p.expiring_at IS NOT NULL AS is_expiring
FROM restore_request r JOIN archive_part p ON p.id = r.part_id
WHERE r.state = 'IN_PROGRESS' AND r.id > $1
ORDER BY r.id LIMIT $2

-- name: to_expire
-- The next requests, by id, whose restoration is over; or whose part is being removed.
SELECT r.*, p.expiring_at IS NOT NULL AS is_expiring
FROM restore_request r JOIN archive_part p ON p.id = r.part_id
WHERE r.state = 'COMPLETED' AND (r.restored_until <= $3 OR p.expiring_at IS NOT NULL) AND r.id > $1
ORDER BY r.id LIMIT $2

-- name: take_turn
-- One worker at a time is at a request, until its transaction ends; nobody waits for his turn.
SELECT pg_try_advisory_xact_lock(hashtextextended('hyrelog.restore.' || $1::uuid, 0))

-- name: state
-- How a request stands by now.
SELECT state FROM restore_request WHERE id = $1

-- name: initiate
-- From now on the store may have been asked.
UPDATE restore_request SET state = 'INITIATING', initiated_at = $2 WHERE id = $1 AND state = 'APPROVED' RETURNING id

-- name: in_progress
-- The store is at it.
UPDATE restore_request SET state = 'IN_PROGRESS', checked_at = $2 WHERE id = $1 AND state = 'INITIATING' RETURNING id

-- name: note_checked
-- It is still at it.
UPDATE restore_request SET checked_at = $2 WHERE id = $1 AND state = 'IN_PROGRESS'

-- name: complete
-- The part can be read until $3.
WITH done AS (
  UPDATE restore_request SET state = 'COMPLETED', checked_at = $2, completed_at = $2, restored_until = $3::timestamptz
  WHERE id = $1 AND state IN ('INITIATING', 'IN_PROGRESS')
  RETURNING part_id
)
UPDATE archive_part p SET is_cold_archived = false, cold_archive_key = NULL, restored_until = $3 FROM done WHERE p.id = done.part_id
RETURNING p.id

-- name: fail
-- It won't be restored.
UPDATE restore_request SET state = 'FAILED', reason = $2 WHERE id = $1 AND state IN ('PENDING', 'APPROVED', 'INITIATING', 'IN_PROGRESS') RETURNING id

-- name: expire
-- The part is as cold as before.
WITH over AS (
  UPDATE restore_request SET state = 'EXPIRED', expired_at = $2 WHERE id = $1 AND state = 'COMPLETED' RETURNING part_id
)
UPDATE archive_part p SET is_cold_archived = true, cold_archive_key = p.key, restored_until = NULL FROM over WHERE p.id = over.part_id
RETURNING p.id

-- name: standings
-- How many requests are in each state but the last ones; and how many the store has had for too long: twice what their tier takes, and half an hour.
SELECT state, count(*) AS requests,
  count(*) FILTER (WHERE initiated_at + (2 * latest_seconds + 1800) * interval '1 second' < $1 AND state <> 'COMPLETED') AS late
FROM restore_request WHERE state IN ('PENDING', 'APPROVED', 'INITIATING', 'IN_PROGRESS', 'COMPLETED')
GROUP BY state
