-- Exports (ops/docs/exports.md). $1 is the company, but where a job's id goes first.

-- name: terms_of_company
-- What the company's plan allows, its overrides over it; and whether an AUDIT workspace is among those that are asked for ($2: one, or null).
SELECT p.limits || c.overrides AS limits,
  EXISTS (SELECT FROM workspace w WHERE w.company_id = $1 AND w.kind = 'AUDIT' AND ($2::uuid IS NULL OR w.id = $2)) AS has_audit
FROM company c JOIN plan p ON p.name = c.plan
WHERE c.id = $1

-- name: retention_of_company
-- Which retention its events were received under, and since when.
SELECT since, hot_days, archive_days, cold_after_days FROM company_retention WHERE company_id = $1 ORDER BY since

-- name: insert_job
-- A new export.
INSERT INTO export_job (id, company_id, workspace_id, source, format, filters, from_at, to_at, row_limit, most_rows, csv_raw, verification, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)

-- name: insert_scope
-- Which events belong to the export $1, in one snapshot: of company $2 or workspace $3, hot ones ($4) and archived ones ($5), the latter
-- of parts in which some may be that happened ($6, $7) and were received ($8, $9) in time.
INSERT INTO export_scope (export_id, company_id, workspace_id, from_seq, to_seq)
SELECT $1::uuid, $2::uuid, runs.workspace_id, lower(run), upper(run) - 1
FROM (
  SELECT workspace_id, range_agg(int8range(from_seq, to_seq + 1)) AS tiles
  FROM (
    SELECT w.id AS workspace_id, coalesce(f.seq, 0) + 1 AS from_seq, h.seq AS to_seq
    FROM workspace w JOIN chain_head h ON h.workspace_id = w.id LEFT JOIN chain_floor f ON f.workspace_id = w.id
    WHERE $4::boolean AND w.company_id = $2 AND ($3::uuid IS NULL OR w.id = $3) AND h.seq > coalesce(f.seq, 0)
    UNION ALL
    SELECT r.workspace_id, r.from_seq, r.to_seq
    FROM archive_range r JOIN archive_part p ON p.id = r.part_id
    WHERE $5::boolean AND r.company_id = $2 AND ($3::uuid IS NULL OR r.workspace_id = $3) AND p.archived_at IS NOT NULL AND p.expiring_at IS NULL
      AND p.occurred_to >= $6::timestamptz AND p.occurred_from < $7::timestamptz
      AND ($8::timestamptz IS NULL OR p.received_to >= $8) AND ($9::timestamptz IS NULL OR p.received_from < $9)
  ) part
  GROUP BY workspace_id
) runs CROSS JOIN LATERAL unnest(runs.tiles) AS run

-- name: insert_scope_of_key
-- The same of the events that the idempotency key $4 stands for: one in each workspace at most.
INSERT INTO export_scope (export_id, company_id, workspace_id, from_seq, to_seq)
SELECT $1::uuid, $2::uuid, w.id, k.seq, k.seq
FROM workspace w CROSS JOIN LATERAL (
  SELECT k.seq FROM event_key k WHERE k.company_id = $2 AND k.workspace_id = w.id AND k.key = $4
  OFFSET 0  -- or else it may be joined by reading all keys
) k
WHERE w.company_id = $2 AND ($3::uuid IS NULL OR w.id = $3)

-- name: cold_parts
-- Parts that an export would have to be read from, and that can't be read at $3 before they are restored; those too whose age has come, and that
-- are not marked yet: the store has moved them, and an export that began would break off.
SELECT DISTINCT p.id
FROM export_scope s
JOIN chain_floor f ON f.workspace_id = s.workspace_id
JOIN archive_range r ON r.workspace_id = s.workspace_id AND r.from_seq <= least(s.to_seq, f.seq) AND r.to_seq >= s.from_seq
JOIN archive_part p ON p.id = r.part_id
WHERE s.export_id = $2 AND s.company_id = $1 AND CASE
    WHEN p.restored_until IS NOT NULL THEN p.restored_until <= $3::timestamptz
    ELSE p.is_cold_archived OR p.archived_at + p.cold_after_days * interval '24 hours' < $3::timestamptz
  END
  AND p.occurred_to >= $4::timestamptz AND p.occurred_from < $5::timestamptz
  AND ($6::timestamptz IS NULL OR p.received_to >= $6) AND ($7::timestamptz IS NULL OR p.received_from < $7)
ORDER BY p.id

-- name: is_gone
-- Whether some of an export's events are neither hot nor in the archive any more.
SELECT EXISTS (
  SELECT
  FROM export_scope s
  JOIN chain_floor f ON f.workspace_id = s.workspace_id
  JOIN archive_range r ON r.workspace_id = s.workspace_id AND r.from_seq <= least(s.to_seq, f.seq) AND r.to_seq >= s.from_seq
  LEFT JOIN archive_part p ON p.id = r.part_id
  WHERE s.export_id = $2 AND s.company_id = $1
    AND (p.id IS NULL OR p.expiring_at IS NOT NULL AND p.occurred_to >= $3::timestamptz AND p.occurred_from < $4::timestamptz
      AND ($5::timestamptz IS NULL OR p.received_to >= $5) AND ($6::timestamptz IS NULL OR p.received_from < $6))
)

-- name: export
-- One export of the caller's. A download that has not been heard of for $4 seconds is over: its process died.
SELECT j.*, j.run IS NOT NULL AND j.heartbeat_at < now() - make_interval(secs => $4) AS is_dead
FROM export_job j
WHERE j.id = $2 AND j.company_id = $1 AND ($3::uuid IS NULL OR j.workspace_id = $3)

-- name: exports
-- A page of the caller's exports, newest first, from in front of $3.
SELECT j.*, j.run IS NOT NULL AND j.heartbeat_at < now() - make_interval(secs => $5) AS is_dead
FROM export_job j
WHERE j.company_id = $1 AND ($2::uuid IS NULL OR j.workspace_id = $2) AND j.id < $3
ORDER BY j.id DESC
LIMIT $4

-- name: lock_downloads
-- Downloads of a company begin one after the other: whoever counts them sees all.
SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.exports.' || $1::uuid, 0))

-- name: hold
-- One export of the caller's, which nobody else changes until the transaction ends.
SELECT FROM export_job j WHERE j.id = $2 AND j.company_id = $1 AND ($3::uuid IS NULL OR j.workspace_id = $3) FOR NO KEY UPDATE

-- name: under_way
-- How many other exports of the company are being downloaded.
SELECT count(*)
FROM export_job j
WHERE j.company_id = $1 AND j.id <> $2 AND j.run IS NOT NULL AND j.heartbeat_at >= now() - make_interval(secs => $3)

-- name: begin
-- A download begins. What succeeded before stays so until this one has succeeded too.
UPDATE export_job SET run = $3, heartbeat_at = now(), started_at = $4::timestamptz,
  state = CASE WHEN state = 'SUCCEEDED' THEN state ELSE 'RUNNING' END,
  reason = NULL,
  rows = CASE WHEN state = 'SUCCEEDED' THEN rows ELSE 0 END,
  finished_at = CASE WHEN state = 'SUCCEEDED' THEN finished_at END
WHERE company_id = $1 AND id = $2

-- name: beat
-- The download $3 is alive; nothing is returned once it was cancelled or another one took its place. And whether its key $5 is still good; null: a user of
-- the dashboard, who has none.
UPDATE export_job SET heartbeat_at = now(), rows = CASE WHEN state = 'SUCCEEDED' THEN rows ELSE $4 END
WHERE company_id = $1 AND id = $2 AND run = $3
RETURNING $5::uuid IS NULL OR EXISTS (
  SELECT FROM api_key k
  WHERE k.id = $5 AND k.company_id = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
) AS has_key

-- name: succeed
-- The download $3 is complete; nothing is returned once it was cancelled or another one took its place.
UPDATE export_job SET state = 'SUCCEEDED', run = NULL, rows = $4, truncated = $5, bytes = $6, sha256 = $7, workspaces = $8,
  finished_at = $9::timestamptz
WHERE company_id = $1 AND id = $2 AND run = $3
RETURNING id

-- name: end
-- The download $3 was broken off.
UPDATE export_job SET run = NULL,
  state = CASE WHEN state = 'SUCCEEDED' THEN state ELSE $4 END,
  reason = CASE WHEN state = 'SUCCEEDED' THEN NULL ELSE $5 END,
  rows = CASE WHEN state = 'SUCCEEDED' THEN rows ELSE $6 END,
  finished_at = CASE WHEN state = 'SUCCEEDED' THEN finished_at ELSE $7::timestamptz END
WHERE company_id = $1 AND id = $2 AND run = $3

-- name: cancel
-- For good: a download that is under way finds that out and breaks off. What has succeeded stays so.
UPDATE export_job SET run = NULL,
  state = CASE WHEN state = 'SUCCEEDED' THEN state ELSE 'CANCELED' END,
  reason = CASE WHEN state = 'SUCCEEDED' THEN NULL ELSE 'REQUESTED' END,
  finished_at = CASE WHEN state = 'SUCCEEDED' THEN finished_at ELSE $3::timestamptz END
WHERE company_id = $1 AND id = $2

-- name: scope
-- Which events belong to an export, in its order.
SELECT workspace_id, from_seq, to_seq FROM export_scope WHERE company_id = $1 AND export_id = $2 ORDER BY workspace_id, from_seq

-- name: page
-- Of a workspace's events $3 to $4 the first $5, or fewer from where they are $6 bytes; and up to where events were removed in the same
-- snapshot. Nothing of them is read when that is not in front of all: then they are in the archive.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, e.summed, f.floor
FROM (
  SELECT coalesce((SELECT c.seq FROM chain_floor c WHERE c.company_id = $1 AND c.workspace_id = $2), 0) AS floor
) f LEFT JOIN LATERAL (
  SELECT e.*, sum(e.size) OVER (ORDER BY e.seq ROWS UNBOUNDED PRECEDING) AS summed
  FROM (
    SELECT e.*, 1000 + coalesce(octet_length(e.actor), 0) + coalesce(octet_length(e.resource), 0) + coalesce(octet_length(e.context), 0)
             + coalesce(octet_length(e.metadata), 0) AS size
    FROM events e
    WHERE e.company_id = $1 AND e.workspace_id = $2 AND e.seq >= $3 AND e.seq <= $4 AND f.floor < $3
    ORDER BY e.seq
    LIMIT $5
  ) e
) e ON e.summed - e.size < $6::bigint
ORDER BY e.seq

-- name: filtered_page
-- The same of those events that are asked for ($7).
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, e.summed, f.floor
FROM (
  SELECT coalesce((SELECT c.seq FROM chain_floor c WHERE c.company_id = $1 AND c.workspace_id = $2), 0) AS floor
) f LEFT JOIN LATERAL (
  SELECT e.*, sum(e.size) OVER (ORDER BY e.seq ROWS UNBOUNDED PRECEDING) AS summed
  FROM (
    SELECT e.*, 1000 + coalesce(octet_length(e.actor), 0) + coalesce(octet_length(e.resource), 0) + coalesce(octet_length(e.context), 0)
             + coalesce(octet_length(e.metadata), 0) AS size
    FROM events e
    WHERE e.company_id = $1 AND e.workspace_id = $2 AND e.seq >= $3 AND e.seq <= $4 AND f.floor < $3 AND is_asked(e, $7::event_filter)
    ORDER BY e.seq
    LIMIT $5
  ) e
) e ON e.summed - e.size < $6::bigint
ORDER BY e.seq

-- name: part_of
-- Where the event $3 of a workspace was archived, and up to which seq the run is that was marked with it. Null where there is no archive.
SELECT p.id, p.company_id, p.archive_day, p.part, p.row_count, p.key, p.size, p.keys_size, p.blocks, p.occurred_from, p.occurred_to,
       p.received_from, p.received_to, p.is_cold_archived, p.restored_until, r.to_seq, p.archived_at IS NOT NULL AS is_archived,
       p.expiring_at IS NOT NULL AS is_expiring
FROM archive_range r LEFT JOIN archive_part p ON p.id = r.part_id
WHERE r.company_id = $1 AND r.workspace_id = $2 AND r.from_seq <= $3
ORDER BY r.from_seq DESC
LIMIT 1
