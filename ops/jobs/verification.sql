-- Queries of archive-verification, in the role hyrelog_scheduler.

-- name: unverified
-- The next parts, by id, that are archived and not verified; those too that did not pass before, and those last read before $3 that are warm.
SELECT id, company_id, key, sha256, content_sha256, row_count, blocks, size, keys_size, occurred_from, occurred_to, received_from, received_to,
       verified_at
FROM archive_part
WHERE id > $1 AND archived_at IS NOT NULL AND expiring_at IS NULL AND (verified_at IS NULL OR (checked_at < $3 AND NOT is_cold_archived))
ORDER BY id LIMIT $2

-- name: part_ranges
-- What a part has to hold, in the order of its lines.
SELECT workspace_id, from_seq, to_seq, first_prev_hash, first_hash, last_hash
FROM archive_range WHERE part_id = $1 ORDER BY workspace_id, from_seq

-- name: unjoined
-- The first of a part's ranges that does not join what is in front of it or behind it in its chain, another range or the hot events.
SELECT r.workspace_id, r.from_seq, r.to_seq
FROM archive_range r
JOIN chain_head h ON h.workspace_id = r.workspace_id
LEFT JOIN archive_range before ON before.workspace_id = r.workspace_id AND before.to_seq = r.after_seq
LEFT JOIN archive_range behind ON behind.workspace_id = r.workspace_id AND behind.from_seq = r.to_seq + 1
LEFT JOIN events e ON e.workspace_id = r.workspace_id AND e.seq = r.to_seq + 1
WHERE r.part_id = $1
  AND (r.first_prev_hash IS DISTINCT FROM CASE WHEN r.from_seq = 1 THEN decode(repeat('00', 32), 'hex') ELSE before.last_hash END
    OR r.last_hash IS DISTINCT FROM coalesce(behind.first_prev_hash, e.prev_hash, CASE WHEN h.seq = r.to_seq THEN h.hash END))
ORDER BY r.workspace_id, r.from_seq LIMIT 1

-- name: verified
-- The part is what was marked and written, and its hot events may go.
UPDATE archive_part SET verified_at = coalesce(verified_at, $2), verification_error = NULL, checked_at = $2 WHERE id = $1

-- name: not_verified
-- The part did not pass, or does not pass any more; what of its events is hot stays.
UPDATE archive_part SET verified_at = NULL, verification_error = $3, checked_at = $2 WHERE id = $1

-- name: count_failed
-- How many parts did not pass.
SELECT count(*) FROM archive_part
WHERE archived_at IS NOT NULL AND verified_at IS NULL AND expiring_at IS NULL AND verification_error IS NOT NULL
