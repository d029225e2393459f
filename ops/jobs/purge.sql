-- Queries of purge, in the role hyrelog_scheduler.

-- name: workspaces_to_purge
-- The next workspaces, by id, that have events whose hot retention is over.
SELECT DISTINCT workspace_id FROM archive_range
WHERE purged_at IS NULL AND hot_until <= $1 AND workspace_id > $2 ORDER BY workspace_id LIMIT $3

-- name: next_to_purge
-- A workspace's first range that is not purged, and its archive.
SELECT r.workspace_id, r.from_seq, r.to_seq, r.company_id, r.first_prev_hash, r.last_hash, r.hot_until, r.tiled_at, r.purging_at, p.key,
  p.size, p.keys_size, r.part_id IS NULL OR p.verified_at IS NOT NULL AS may_go
FROM archive_range r LEFT JOIN archive_part p ON p.id = r.part_id
WHERE r.workspace_id = $1 AND r.purged_at IS NULL ORDER BY r.from_seq LIMIT 1

-- name: hashes
-- The hashes of a run of events, joined; how many there are, and whether each links to the one before, the first one to this hash.
SELECT count(*) AS events, coalesce(string_agg(hash, '' ORDER BY seq), '') AS hashes, coalesce(bool_and(prev_hash = before), true) AS linked
FROM (
  SELECT seq, hash, prev_hash, lag(hash, 1, $4::bytea) OVER (ORDER BY seq) AS before
  FROM events WHERE workspace_id = $1 AND seq BETWEEN $2 AND $3
) run

-- name: note_tiled
-- A range's hashes are in tiles.
UPDATE archive_range SET tiled_at = $3 WHERE workspace_id = $1 AND from_seq = $2 AND tiled_at IS NULL

-- name: tiled_at
-- Whether they are, and since when.
SELECT tiled_at FROM archive_range WHERE workspace_id = $1 AND from_seq = $2

-- name: begin_purge
-- A range is being purged: once, and with its entry in the audit.
UPDATE archive_range SET purging_at = $3 WHERE workspace_id = $1 AND from_seq = $2 AND purging_at IS NULL RETURNING from_seq

-- name: floor
-- The last event of a workspace that was removed.
SELECT seq FROM chain_floor WHERE workspace_id = $1

-- name: purge_batch
-- Remove the next events of a range, or say what has to come first.
SELECT removed, waits_for FROM purge_events($1, $2, $3)
