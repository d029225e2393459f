-- What the operator's routes read of all companies, in the role hyrelog_dashboard.

-- name: companies
-- A page of the region's customers, the newest first, from in front of an id: whose name has that in it ($2, a pattern) or whose id it is.
SELECT c.id, c.name, c.plan, c.overrides, c.created_at
FROM company c
WHERE NOT c.is_operator AND c.id < $1 AND ($2::text IS NULL OR lower(c.name) LIKE $2 OR c.id::text = $3) AND ($4::text IS NULL OR c.plan = $4)
ORDER BY c.id DESC
LIMIT $5

-- name: plans
-- What each plan allows.
SELECT name, limits FROM plan

-- name: audit_logs
-- A page of the audit, the newest first, from in front of a place: of all companies and the operator's own, or of company $1.
SELECT e.*
FROM workspace w CROSS JOIN LATERAL (
  SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
         occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
  FROM events
  WHERE workspace_id = w.id AND occurred_at <= $2::timestamptz AND (occurred_at, id) < ($2::timestamptz, $3::uuid)
    AND occurred_at >= $4::timestamptz AND occurred_at < $5::timestamptz
    AND ($6::text IS NULL OR action LIKE $6) AND ($7::text IS NULL OR outcome = $7)
    AND ($8::text IS NULL OR actor_id = $8) AND ($9::text IS NULL OR actor_email = $9) AND ($10::text IS NULL OR resource_id = $10)
  ORDER BY occurred_at DESC, id DESC
  LIMIT $11
) e
WHERE w.kind = 'AUDIT' AND ($1::uuid IS NULL OR w.company_id = $1)
ORDER BY e.occurred_at DESC, e.id DESC
LIMIT $11
