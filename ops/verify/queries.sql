-- All of these run in one read-only snapshot, so that events and heads belong together. $1 and $2 bound the workspaces.

-- name: expected_events
-- How many events the heads promise: the length of the progress bar.
SELECT coalesce(sum(greatest(h.seq - coalesce(f.seq, 0), 0)), 0)::bigint
FROM chain_head h LEFT JOIN chain_floor f ON f.workspace_id = h.workspace_id
WHERE h.workspace_id BETWEEN $1 AND $2

-- name: page
-- The next events in chain order, workspace by workspace, with the columns that are derived from others.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at,
       source_partition, archive_day - date '1970-01-01' AS archive_day, actor_id, actor_email, resource_type, resource_id
FROM events
WHERE (workspace_id, seq) > ($1, $2) AND workspace_id <= $3
ORDER BY workspace_id, seq
LIMIT $4

-- name: heads
-- The stored heads of workspaces whose events have been walked.
SELECT workspace_id, company_id, seq, hash, archive_day - date '1970-01-01' AS archive_day
FROM chain_head WHERE workspace_id = ANY($1::uuid[])

-- name: floors
-- Where the chains of these workspaces begin, of which something was purged.
SELECT workspace_id, company_id, seq, hash, archive_day - date '1970-01-01' AS archive_day FROM chain_floor WHERE workspace_id = ANY($1::uuid[])

-- name: ends_without_events
-- Chains of which no event is in the table, purged or gone: their heads and floors.
SELECT workspace_id, h.company_id, h.seq, h.hash, h.archive_day - date '1970-01-01' AS archive_day,
       f.company_id AS floor_company_id, f.seq AS floor_seq, f.hash AS floor_hash, f.archive_day - date '1970-01-01' AS floor_archive_day
FROM (SELECT * FROM chain_head WHERE workspace_id BETWEEN $1 AND $2) h
FULL JOIN (SELECT * FROM chain_floor WHERE workspace_id BETWEEN $1 AND $2) f USING (workspace_id)
WHERE NOT EXISTS (SELECT FROM events e WHERE e.workspace_id = coalesce(h.workspace_id, f.workspace_id))
ORDER BY workspace_id

-- name: ranges
-- The next $4 ranges in order, each with its workspace's floor, the part it is in, and what is in the table of its two ends.
SELECT r.workspace_id, r.from_seq, r.to_seq, r.company_id, r.first_prev_hash, r.first_hash, r.last_hash, r.archive_day,
       r.purging_at IS NOT NULL AS is_purging, r.purged_at IS NOT NULL AS is_purged,
       r.part_id IS NULL OR p.verified_at IS NOT NULL AS is_safe, f.seq AS floor_seq, f.hash AS floor_hash,
       b.prev_hash AS begin_prev_hash, b.hash AS begin_hash, e.hash AS end_hash
FROM archive_range r
LEFT JOIN archive_part p ON p.id = r.part_id
LEFT JOIN chain_floor f ON f.workspace_id = r.workspace_id
LEFT JOIN events b ON b.workspace_id = r.workspace_id AND b.seq = r.from_seq AND r.purged_at IS NULL
LEFT JOIN events e ON e.workspace_id = r.workspace_id AND e.seq = r.to_seq AND r.purged_at IS NULL
WHERE (r.workspace_id, r.from_seq) > ($1, $2) AND r.workspace_id <= $3
ORDER BY r.workspace_id, r.from_seq
LIMIT $4

-- name: floors_without_range
-- Where events were removed that no range ever held.
SELECT f.workspace_id, f.seq FROM chain_floor f
WHERE f.workspace_id BETWEEN $1 AND $2
  AND NOT EXISTS (SELECT FROM archive_range r WHERE r.workspace_id = f.workspace_id AND f.seq BETWEEN r.from_seq AND r.to_seq)
ORDER BY f.workspace_id

-- name: beyond_source
-- An event that claims a place in the ingest topic which the worker has not reached.
SELECT e.workspace_id, e.seq
FROM source s
CROSS JOIN LATERAL (
  SELECT workspace_id, seq FROM events
  WHERE source_partition = s.partition AND source_offset >= s.next_offset
  ORDER BY source_offset, source_index LIMIT 1
) e
WHERE e.workspace_id BETWEEN $1 AND $2

-- name: all_heads
-- Every head, to compare the events topic with; an unsettled one may not be announced yet. A purged chain also has a floor.
SELECT h.workspace_id, h.seq, h.hash, h.updated_at < now() - interval '10 seconds' AS settled, f.seq AS floor_seq, f.hash AS floor_hash
FROM chain_head h LEFT JOIN chain_floor f ON f.workspace_id = h.workspace_id
WHERE h.workspace_id BETWEEN $1 AND $2
