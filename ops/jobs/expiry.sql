-- Queries of archive-expiry, in the role hyrelog_scheduler.

-- name: parts_to_expire
-- The next parts, by the end of their retention, that are past it and still there; while purging is on, only once none of their events is hot.
SELECT p.id, p.company_id, p.archive_until, p.key, p.sha256, p.expiring_at
FROM archive_part p
WHERE p.archived_at IS NOT NULL AND p.expired_at IS NULL AND p.archive_until < $1 AND (p.archive_until, p.id) > ($2, $3)
  AND NOT ($4 AND EXISTS (SELECT FROM archive_range r WHERE r.part_id = p.id AND r.purged_at IS NULL))
ORDER BY p.archive_until, p.id LIMIT $5

-- name: part_runs
-- What a part has.
SELECT workspace_id, from_seq, to_seq FROM archive_range WHERE part_id = $1 ORDER BY workspace_id, from_seq

-- name: begin_expiry
-- From now on nobody begins to read the part: once, with its entry in the audit, and by the server's own clock too, but in a demo.
UPDATE archive_part SET expiring_at = $2
WHERE id = $1 AND expiring_at IS NULL AND (archive_until < now() OR (SELECT is_demo FROM database_region))
RETURNING id

-- name: expire_part
-- The part's objects are gone.
SELECT expire_part($1, $2)
