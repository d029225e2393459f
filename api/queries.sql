-- Every statement takes the caller's company, and its workspace where the caller has only one (null: all of them).
-- Pages go on behind a pair of time and tie breaker, so that rows stored meanwhile shift nothing.

-- name: event_by_id
-- One stored event of the caller's.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events
WHERE id = $1 AND company_id = $2 AND ($3::uuid IS NULL OR workspace_id = $3)

-- name: event_by_alias
-- The stored event that an accepted one repeats, by that one's id.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at
FROM event_alias a JOIN events e USING (workspace_id, seq)
WHERE a.id = $1 AND a.company_id = $2 AND ($3::uuid IS NULL OR a.workspace_id = $3)

-- name: parts_received
-- The archived parts that may hold an event of the caller's that was received from $4 to $5.
SELECT p.id, p.company_id, p.archive_day, p.part, p.row_count, p.key, p.size, p.keys_size, p.blocks, p.occurred_from, p.occurred_to,
       p.received_from, p.received_to, p.is_cold_archived, p.restored_until
FROM archive_part p
WHERE p.company_id = $1 AND p.archived_at IS NOT NULL AND p.expiring_at IS NULL AND p.received_from <= $4 AND p.received_to >= $3
  AND EXISTS (SELECT FROM archive_range r WHERE r.part_id = p.id AND r.company_id = $1 AND ($2::uuid IS NULL OR r.workspace_id = $2))
ORDER BY p.received_from

-- name: part_by_alias
-- The archived part that holds the event which an accepted one repeats, and that one's place.
SELECT p.id, p.company_id, p.archive_day, p.part, p.row_count, p.key, p.size, p.keys_size, p.blocks, p.occurred_from, p.occurred_to,
       p.received_from, p.received_to, p.is_cold_archived, p.restored_until, a.workspace_id, a.seq
FROM event_alias a
JOIN archive_range r ON r.workspace_id = a.workspace_id AND a.seq BETWEEN r.from_seq AND r.to_seq
JOIN archive_part p ON p.id = r.part_id
WHERE a.id = $1 AND a.company_id = $2 AND ($3::uuid IS NULL OR a.workspace_id = $3) AND p.archived_at IS NOT NULL AND p.expiring_at IS NULL

-- name: rejection_by_id
-- Why an accepted event of the caller's could not be stored.
SELECT reason
FROM rejected
WHERE id = $1 AND company_id = $2 AND ($3::uuid IS NULL OR workspace_id = $3)
LIMIT 1

-- name: chain_of_workspace
-- The head of a workspace's chain; nulls before its first event, no row when the workspace is not the caller's.
SELECT h.seq, h.hash, h.updated_at
FROM workspace w LEFT JOIN chain_head h ON h.workspace_id = w.id
WHERE w.id = $1 AND w.company_id = $2 AND ($3::uuid IS NULL OR w.id = $3)

-- name: workspaces_of_company
-- A page of the caller's workspaces in the order of their ids, each with the seq of its newest event.
SELECT w.id, w.name, w.kind, w.archived_at, w.created_at, coalesce(h.seq, 0) AS seq
FROM workspace w LEFT JOIN chain_head h ON h.workspace_id = w.id
WHERE w.company_id = $1 AND ($2::uuid IS NULL OR w.id = $2) AND w.id > $3
ORDER BY w.id
LIMIT $4

-- name: projects_of_workspace
-- A page of the workspace's projects in the order of their ids; one row of nulls when there are none, none when it is not the caller's.
SELECT p.id, p.workspace_id, p.name, p.created_at
FROM workspace w LEFT JOIN LATERAL (
  SELECT id, workspace_id, name, created_at FROM project WHERE company_id = $1 AND workspace_id = w.id AND id > $4 ORDER BY id LIMIT $5
) p ON true
WHERE w.company_id = $1 AND w.id = $3 AND ($2::uuid IS NULL OR w.id = $2)
ORDER BY p.id

-- name: projects_of_company
-- A page of the company's projects in the order of their ids, of all workspaces or of one.
SELECT id, workspace_id, name, created_at
FROM project
WHERE company_id = $1 AND ($2::uuid IS NULL OR workspace_id = $2) AND id > $3
ORDER BY id
LIMIT $4

-- name: company_limits
-- What a customer's plan allows, with its overrides; the operator's own company is none.
SELECT p.limits || c.overrides FROM company c JOIN plan p ON p.name = c.plan WHERE c.id = $1 AND NOT c.is_operator

-- name: company
-- What a company is, and what there is of it; entries of the audit are not counted.
SELECT c.id, c.name, c.plan, p.limits || c.overrides AS limits, c.overrides, c.created_at,
  (SELECT coalesce(sum(h.seq), 0)::bigint FROM chain_head h JOIN workspace w ON w.id = h.workspace_id
   WHERE w.company_id = $1 AND w.kind = 'STANDARD') AS events,
  (SELECT count(*) FROM workspace w WHERE w.company_id = $1 AND w.kind = 'STANDARD') AS workspaces,
  (SELECT count(*) FROM project WHERE company_id = $1) AS projects,
  (SELECT count(*) FROM api_key k
   WHERE k.company_id = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())) AS keys,
  (SELECT count(*) FROM webhook w WHERE w.company_id = $1 AND w.enabled) AS webhooks
FROM company c JOIN plan p ON p.name = c.plan
WHERE c.id = $1

-- name: usage_of_company
-- The company's plan with its overrides, and what there is in the caller's scope; entries of the audit are not counted.
WITH scope AS (
  SELECT id FROM workspace WHERE company_id = $1 AND kind = 'STANDARD' AND ($2::uuid IS NULL OR id = $2)
)
SELECT c.plan, p.limits || c.overrides AS limits,
  (SELECT coalesce(sum(h.seq), 0)::bigint FROM chain_head h JOIN scope ON scope.id = h.workspace_id) AS events,
  (SELECT count(*) FROM scope) AS workspaces,
  (SELECT count(*) FROM project JOIN scope ON scope.id = project.workspace_id WHERE project.company_id = $1) AS projects,
  (SELECT count(*) FROM api_key k
   WHERE k.company_id = $1 AND ($2::uuid IS NULL OR k.workspace_id = $2)
     AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())) AS keys
FROM company c JOIN plan p ON p.name = c.plan
WHERE c.id = $1

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
