-- Queries of ops/tenancy, in the operator's role. Every change commits with its audit entry.

-- name: database
-- Which region this database is, and whether it is a demo's.
SELECT region, is_demo FROM database_region

-- name: is_made
-- Whether the database has been migrated at all.
SELECT to_regclass('public.database_region') IS NOT NULL

-- name: others
-- Who else is connected to this database.
SELECT string_agg(DISTINCT usename, ', ') FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL

-- name: one_at_a_time
-- Two seeds at once make one company: the second waits here and then finds it.
SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.seed', 0))

-- name: insert_company
-- A new company on its plan; a trigger adds its AUDIT workspace.
INSERT INTO company (id, name, plan, overrides) VALUES (uuidv7(), $1, $2, $3::jsonb) RETURNING id

-- name: insert_workspace
-- A new workspace of the company.
INSERT INTO workspace (id, company_id, name) VALUES (uuidv7(), $1, $2) RETURNING id

-- name: insert_project
-- A new project of the workspace.
INSERT INTO project (id, company_id, workspace_id, name) VALUES (uuidv7(), $1, $2, $3) RETURNING id

-- name: insert_key
-- A new key, as its HMAC; without a workspace it is the company's.
INSERT INTO api_key (id, company_id, workspace_id, key_hash, prefix, name, ip_allowlist, expires_at)
VALUES (uuidv7(), $1, $2, $3, $4, $5, $6::text[]::cidr[], $7)
RETURNING id

-- name: find_tenant
-- A company by its name, with its oldest workspace and that one's oldest project.
SELECT c.id, w.id, p.id
FROM company c
JOIN workspace w ON w.company_id = c.id
JOIN project p ON p.workspace_id = w.id
WHERE c.name = $1
ORDER BY c.id, w.id, p.id
LIMIT 1

-- name: lock_company
-- A company that is about to change.
SELECT id, name, plan, overrides FROM company WHERE id = $1 FOR NO KEY UPDATE

-- name: lock_workspace
-- A workspace that is about to change, or to get something new.
SELECT company_id, kind, archived_at FROM workspace WHERE id = $1 FOR NO KEY UPDATE

-- name: lock_key
-- A key that is about to change.
SELECT company_id, workspace_id, prefix, revoked_at,
  CASE WHEN revoked_at IS NOT NULL THEN 'REVOKED' WHEN expires_at <= now() THEN 'EXPIRED' WHEN rotated_to IS NOT NULL THEN 'ROTATED'
    ELSE 'ACTIVE' END,
  name, ip_allowlist::text[], expires_at
FROM api_key WHERE id = $1 FOR NO KEY UPDATE

-- name: set_plan
-- Put a company on another plan.
UPDATE company SET plan = $2 WHERE id = $1

-- name: set_overrides
-- What of the company's plan is replaced.
UPDATE company SET overrides = $2::jsonb WHERE id = $1

-- name: lock_webhooks
-- Endpoints are enabled, and plans changed, one after the other (api/webhooks/queries.sql does the same).
SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.webhooks.' || $1::uuid, 0))

-- name: disable_surplus
-- The newest enabled endpoints that the company's plan, as it is now, has no room for.
UPDATE webhook SET enabled = false, disabled_reason = 'PLAN', disabled_at = now(), updated_at = now()
WHERE enabled AND id IN (
  SELECT h.id FROM webhook h
  WHERE h.company_id = $1 AND h.enabled
  ORDER BY h.created_at DESC, h.id DESC
  LIMIT (
    SELECT greatest(0, (SELECT count(*) FROM webhook WHERE company_id = $1 AND enabled) - (p.limits || c.overrides ->> 'webhooks')::bigint)
    FROM company c JOIN plan p ON p.name = c.plan WHERE c.id = $1
  )
)
RETURNING id

-- name: set_archived
-- Archive a workspace, or take it back.
UPDATE workspace SET archived_at = CASE WHEN $2::boolean THEN now() END WHERE id = $1

-- name: revoke_key
-- From now on (at most ten seconds later, for a process that knows it) the key is nobody's.
UPDATE api_key SET revoked_at = now() WHERE id = $1

-- name: retire_key
-- A key that was rotated is good for the overlap, unless it ends before; when that is.
UPDATE api_key SET rotated_to = $2, expires_at = least(expires_at, now() + make_interval(secs => $3::double precision))
WHERE id = $1
RETURNING expires_at

-- name: set_allowlist
-- From where a key may be used; from anywhere when empty.
UPDATE api_key SET ip_allowlist = $2::text[]::cidr[] WHERE id = $1

-- name: companies
-- The region's newest customers: whose name has that in it ($1, a pattern) or whose id it is.
SELECT id, name, plan, overrides, created_at
FROM company
WHERE NOT is_operator AND ($1::text IS NULL OR lower(name) LIKE $1 OR id::text = $2)
ORDER BY id DESC
LIMIT $3

-- name: company
-- A company, and what its plan allows it.
SELECT c.id, c.name, c.plan, p.limits || c.overrides, c.overrides, c.created_at
FROM company c JOIN plan p ON p.name = c.plan
WHERE c.id = $1

-- name: workspaces
-- A company's workspaces, or one of them.
SELECT id, name, kind, archived_at, created_at FROM workspace WHERE company_id = $1 AND ($2::uuid IS NULL OR id = $2) ORDER BY id

-- name: projects
-- A company's projects, or those of one workspace.
SELECT id, workspace_id, name, created_at FROM project WHERE company_id = $1 AND ($2::uuid IS NULL OR workspace_id = $2) ORDER BY id

-- name: project
-- A project of a workspace.
SELECT id, workspace_id, name, created_at FROM project WHERE workspace_id = $1 AND id = $2

-- name: keys
-- A company's keys, or those of one workspace, or one, as far as they may be shown.
SELECT k.id, k.prefix, CASE WHEN k.workspace_id IS NULL THEN 'COMPANY' ELSE 'WORKSPACE' END, k.workspace_id, k.name,
  CASE WHEN k.revoked_at IS NOT NULL THEN 'REVOKED' WHEN k.expires_at <= now() THEN 'EXPIRED' WHEN k.rotated_to IS NOT NULL THEN 'ROTATED'
    ELSE 'ACTIVE' END,
  k.created_at, k.expires_at, u.last_used_at, k.ip_allowlist::text[]
FROM api_key k LEFT JOIN api_key_use u ON u.key_id = k.id
WHERE k.company_id = $1 AND ($2::uuid IS NULL OR k.workspace_id = $2) AND ($3::uuid IS NULL OR k.id = $3)
ORDER BY k.id

-- name: plans
-- What each plan allows.
SELECT name, limits FROM plan
