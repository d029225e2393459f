-- Every statement takes the caller's company, and its workspace where the caller has only one (null: all of them).
-- Pages go on behind a pair of time and tie breaker, so that rows stored meanwhile shift nothing.

-- name: event_by_id
-- One stored event of the caller's.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events
WHERE id = $1 AND company_id = $2 AND ($3::uuid IS NULL OR workspace_id = $3)

-- name: rejection_by_id
-- Why an accepted event of the caller's could not be stored.
SELECT reason
FROM rejected
WHERE id = $1 AND company_id = $2 AND ($3::uuid IS NULL OR workspace_id = $3)
LIMIT 1

-- name: workspace_events_desc
-- A page of one workspace's events, newest first: up to (time, seq), down to the time from.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events
WHERE company_id = $1 AND workspace_id = $2
  AND (occurred_at, seq) < ($3::timestamptz, $4::bigint) AND occurred_at >= $5::timestamptz
  AND ($6::text IS NULL OR category = $6)
  AND ($7::text IS NULL OR action = $7) AND ($8::text IS NULL OR starts_with(action, $8))
ORDER BY occurred_at DESC, seq DESC
LIMIT $9

-- name: workspace_events_asc
-- The same, oldest first: from (time, seq) up to before the time to.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events
WHERE company_id = $1 AND workspace_id = $2
  AND (occurred_at, seq) > ($3::timestamptz, $4::bigint) AND occurred_at < $5::timestamptz
  AND ($6::text IS NULL OR category = $6)
  AND ($7::text IS NULL OR action = $7) AND ($8::text IS NULL OR starts_with(action, $8))
ORDER BY occurred_at, seq
LIMIT $9

-- name: company_events_desc
-- A page over a company's workspaces, newest first: each one's own page from its index, merged, and only then the wide columns.
WITH page AS (
  SELECT e.workspace_id, e.seq
  FROM workspace w
  CROSS JOIN LATERAL (
    SELECT workspace_id, seq, occurred_at, id
    FROM events
    WHERE workspace_id = w.id AND company_id = $1
      AND (occurred_at, id) < ($2::timestamptz, $3::uuid) AND occurred_at >= $4::timestamptz
      AND ($5::text IS NULL OR category = $5)
      AND ($6::text IS NULL OR action = $6) AND ($7::text IS NULL OR starts_with(action, $7))
    ORDER BY occurred_at DESC, id DESC
    LIMIT $8
  ) e
  WHERE w.company_id = $1
  ORDER BY e.occurred_at DESC, e.id DESC
  LIMIT $8
)
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM page JOIN events USING (workspace_id, seq)
ORDER BY occurred_at DESC, id DESC

-- name: company_events_asc
-- The same, oldest first.
WITH page AS (
  SELECT e.workspace_id, e.seq
  FROM workspace w
  CROSS JOIN LATERAL (
    SELECT workspace_id, seq, occurred_at, id
    FROM events
    WHERE workspace_id = w.id AND company_id = $1
      AND (occurred_at, id) > ($2::timestamptz, $3::uuid) AND occurred_at < $4::timestamptz
      AND ($5::text IS NULL OR category = $5)
      AND ($6::text IS NULL OR action = $6) AND ($7::text IS NULL OR starts_with(action, $7))
    ORDER BY occurred_at, id
    LIMIT $8
  ) e
  WHERE w.company_id = $1
  ORDER BY e.occurred_at, e.id
  LIMIT $8
)
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM page JOIN events USING (workspace_id, seq)
ORDER BY occurred_at, id

-- name: chain_of_workspace
-- The head of a workspace's chain; nulls before its first event, no row when the workspace is not the caller's.
SELECT h.seq, h.hash, h.updated_at
FROM workspace w LEFT JOIN chain_head h ON h.workspace_id = w.id
WHERE w.id = $1 AND w.company_id = $2 AND ($3::uuid IS NULL OR w.id = $3)

-- name: rejections_of_company
-- A page of the caller's rejections, newest first.
SELECT source_partition, source_offset, source_index, id, workspace_id, reason, detail, received_at, rejected_at
FROM rejected
WHERE company_id = $1 AND ($2::uuid IS NULL OR workspace_id = $2)
  AND (rejected_at, source_partition, source_offset, source_index) < ($3::timestamptz, $4::integer, $5::bigint, $6::integer)
ORDER BY rejected_at DESC, source_partition DESC, source_offset DESC, source_index DESC
LIMIT $7

-- name: rejections_of_region
-- A page of all rejections of a region with the original bytes, newest first, for the operator: past the walls between tenants.
SELECT source_partition, source_offset, source_index, id, workspace_id, reason, detail, received_at, rejected_at, company_id, original
FROM operator_rejections($1::timestamptz, $2::integer, $3::bigint, $4::integer, $5::integer)
