-- Queries of archival, in the role hyrelog_scheduler.

-- name: to_send
-- Parts that are not archived, and were not sent since $1.
SELECT id, company_id, archive_day, part FROM archive_part
WHERE archived_at IS NULL AND (sent_at IS NULL OR sent_at <= $1)
ORDER BY id LIMIT $2

-- name: ranges
-- What is in one of them.
SELECT workspace_id, from_seq, to_seq FROM archive_range WHERE part_id = $1 ORDER BY workspace_id, from_seq

-- name: note_sent
-- They are on the topic.
UPDATE archive_part SET sent_at = $2 WHERE id = ANY($1::uuid[])

-- name: waiting
-- How many are to be archived, but for those that can't be.
SELECT count(*) FROM archive_part WHERE archived_at IS NULL AND archive_error IS NULL
