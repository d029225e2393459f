-- Queries of the archive sink, in the role hyrelog_archiver.

-- name: part
-- A part that is to be archived, or was.
SELECT company_id, archive_day, part, row_count, cold_after_days, archive_until, archived_at FROM archive_part WHERE id = $1

-- name: waiting
-- Which of these parts are not yet archived.
SELECT id FROM archive_part WHERE id = ANY($1::uuid[]) AND archived_at IS NULL

-- name: ranges
-- What is in a part, in the order of its lines.
SELECT workspace_id, from_seq, to_seq, first_prev_hash, last_hash FROM archive_range WHERE part_id = $1 ORDER BY workspace_id, from_seq

-- name: page
-- The next $4 events of these runs (workspace, first and last seq), or the first so many that make $5 bytes, but one at least.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM (
  SELECT e.*, r.number, sum(e.bytes) OVER (ORDER BY r.number, e.seq) - e.bytes AS bytes_before
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS r (workspace_id, from_seq, to_seq, number)
  CROSS JOIN LATERAL (
    SELECT e.*, coalesce(octet_length(actor), 0) + coalesce(octet_length(resource), 0) + coalesce(octet_length(context), 0)
                + coalesce(octet_length(metadata), 0) AS bytes
    FROM events e WHERE e.workspace_id = r.workspace_id AND e.seq >= r.from_seq AND e.seq <= r.to_seq
    ORDER BY e.seq LIMIT $4
  ) e
  ORDER BY r.number, e.seq LIMIT $4
) e
WHERE bytes_before < $5::bigint
ORDER BY number, seq

-- name: record
-- The part stands as archived, with what was written; the first one who says so is right, as all write the same.
UPDATE archive_part
SET archived_at = $2, key = $3, sha256 = $4, content_sha256 = $5, size = $6, keys_size = $7, blocks = $8,
    occurred_from = $9, occurred_to = $10, received_from = $11, received_to = $12, archive_error = NULL
WHERE id = $1 AND archived_at IS NULL

-- name: renumber
-- The name is taken by something that is not ours: the part gets the next number of its day, if it still has the one that was tried.
UPDATE archive_part p
SET part = (SELECT max(q.part) + 1 FROM archive_part q WHERE q.company_id = p.company_id AND q.archive_day = p.archive_day)
WHERE p.id = $1 AND p.part = $2 AND p.archived_at IS NULL

-- name: refuse
-- Why the part can't be archived. It is tried again when it is sent again.
UPDATE archive_part SET archive_error = $2 WHERE id = $1 AND archived_at IS NULL
