-- All of these run in one read-only snapshot, so that events and heads belong together. $1 and $2 bound the workspaces.

-- name: expected_events
-- How many events the heads promise: the length of the progress bar.
SELECT coalesce(sum(seq), 0)::bigint FROM chain_head WHERE workspace_id BETWEEN $1 AND $2

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

-- name: heads_without_events
-- Chains that should be there and are gone as a whole.
SELECT h.workspace_id, h.seq
FROM chain_head h
WHERE h.workspace_id BETWEEN $1 AND $2
  AND NOT EXISTS (SELECT FROM events e WHERE e.workspace_id = h.workspace_id)
ORDER BY h.workspace_id

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
-- Every head, to compare the events topic with; an unsettled one may not be announced yet.
SELECT workspace_id, seq, hash, updated_at < now() - interval '10 seconds' AS settled
FROM chain_head WHERE workspace_id BETWEEN $1 AND $2
