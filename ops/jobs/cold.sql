-- Queries of cold-archive-marker, in the role hyrelog_scheduler.

-- name: mark_cold
-- Parts whose objects are older than their plan keeps them warm are cold; but those that were restored, until that is over.
WITH marked AS (
  UPDATE archive_part SET is_cold_archived = true, cold_archive_key = key
  WHERE archived_at + cold_after_days * interval '24 hours' < $1 AND NOT is_cold_archived AND expiring_at IS NULL
    AND (restored_until IS NULL OR restored_until <= $1)
  RETURNING 1
) SELECT count(*) FROM marked
