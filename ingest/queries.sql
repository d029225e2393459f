-- name: source_standing
-- Which partitions are parked, and where each stands: to refuse what would wait too long to be stored.
SELECT partition, offset_base, next_offset, parked_reason FROM source WHERE topic = $1

-- name: projects_of_workspace
-- Which of these ids are projects of the workspace: an event may name no other.
SELECT id FROM project WHERE company_id = $1 AND workspace_id = $2 AND id = ANY($3::uuid[])

-- name: find_stored
-- What these ids lead to, each in its company: their own event, or the one that it repeats; for all requests that wait, in one go.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at, id AS asked
FROM events JOIN unnest($1::uuid[], $2::uuid[]) AS wanted (id, company_id) USING (id, company_id)
UNION ALL
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id, e.trace_id,
       e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context, e.metadata, e.erased_at, a.id
FROM unnest($1::uuid[], $2::uuid[]) AS wanted (id, company_id) JOIN event_alias a USING (id, company_id)
JOIN events e ON e.workspace_id = a.workspace_id AND e.seq = a.seq

-- name: find_rejected
-- Which of these ids could not be stored, each in its company, and why.
SELECT id, reason FROM rejected JOIN unnest($1::uuid[], $2::uuid[]) AS wanted (id, company_id) USING (id, company_id)

-- name: claim_keys
-- Claim these idempotency keys, but for those that stand for an event already. Only what was not claimed comes back: such a key with
-- its event, or one that others claimed, without. In one order for everybody, so that no two processes wait for each other.
WITH wanted AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::bytea[], $6::timestamptz[])
    AS w (workspace_id, key, company_id, event_id, content, received_at)
), settled AS MATERIALIZED (
  SELECT w.event_id AS proposed, k.event_id, k.content
  FROM wanted w JOIN event_key k USING (workspace_id, company_id, key)
), claimed AS (
  INSERT INTO key_claim (workspace_id, key, company_id, event_id, content, received_at)
  SELECT workspace_id, key, company_id, event_id, content, received_at
  FROM wanted WHERE event_id NOT IN (SELECT proposed FROM settled)
  ORDER BY workspace_id, key COLLATE "C"
  ON CONFLICT (workspace_id, key) DO NOTHING
  RETURNING event_id
)
SELECT w.event_id AS proposed, s.event_id, s.content
FROM wanted w LEFT JOIN settled s ON s.proposed = w.event_id
WHERE w.event_id NOT IN (SELECT event_id FROM claimed)

-- name: claims_before
-- The claims that others came first with. A statement of its own: the one that lost to them may have begun before they were there.
SELECT w.event_id AS proposed, c.event_id, c.content, c.received_at
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[]) AS w (workspace_id, key, company_id, event_id)
JOIN key_claim c USING (workspace_id, company_id, key)

-- name: release_claims
-- Give claims back, unless the key was claimed anew meanwhile.
DELETE FROM key_claim c USING unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[]) AS w (workspace_id, key, company_id, event_id)
WHERE c.workspace_id = w.workspace_id AND c.company_id = w.company_id AND c.key = w.key AND c.event_id = w.event_id

-- name: sweep_claims
-- Delete the oldest of the claims that are older than that, unless another process is at it just now.
WITH swept AS (
  DELETE FROM key_claim WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM key_claim
    WHERE (SELECT pg_try_advisory_xact_lock(hashtextextended('hyrelog.claims', 0))) AND received_at < $1
    ORDER BY received_at LIMIT $2
  ))
  RETURNING 1
)
SELECT count(*) FROM swept
