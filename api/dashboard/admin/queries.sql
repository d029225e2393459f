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
-- A page of the audit of all companies and the operator's own, the newest first, from in front of a place ($1, $2). By the index of what is of
-- its category; a customer's own events of that category are passed over.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id, e.trace_id,
       e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context, e.metadata, e.erased_at
FROM events e JOIN workspace w ON w.id = e.workspace_id
WHERE w.kind = 'AUDIT' AND e.category = 'admin' AND (e.occurred_at, e.id) < ($1::timestamptz, $2::uuid)
  AND e.occurred_at >= $3::timestamptz AND e.occurred_at < $4::timestamptz
  AND ($5::text IS NULL OR e.action LIKE $5) AND ($6::text IS NULL OR e.outcome = $6)
  AND ($7::text IS NULL OR e.actor_id = $7) AND ($8::text IS NULL OR e.actor_email = $8) AND ($9::text IS NULL OR e.resource_id = $9)
ORDER BY e.occurred_at DESC, e.id DESC
LIMIT $10

-- name: audit_logs_of_company
-- The same of company $11 alone, out of its AUDIT workspace's own order.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id, e.trace_id,
       e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context, e.metadata, e.erased_at
FROM events e
WHERE e.workspace_id = (SELECT w.id FROM workspace w WHERE w.company_id = $11 AND w.kind = 'AUDIT')
  AND e.occurred_at <= $1::timestamptz AND (e.occurred_at, e.id) < ($1::timestamptz, $2::uuid)
  AND e.occurred_at >= $3::timestamptz AND e.occurred_at < $4::timestamptz
  AND ($5::text IS NULL OR e.action LIKE $5) AND ($6::text IS NULL OR e.outcome = $6)
  AND ($7::text IS NULL OR e.actor_id = $7) AND ($8::text IS NULL OR e.actor_email = $8) AND ($9::text IS NULL OR e.resource_id = $9)
ORDER BY e.occurred_at DESC, e.id DESC
LIMIT $10
