-- Queries of ops/seed.py.

-- name: one_at_a_time
-- Two seeds at once make one company: the second waits here and then finds it.
SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.seed', 0))

-- name: find_tenant
-- A company by its name, with its oldest workspace and that one's oldest project.
SELECT c.id, w.id, p.id
FROM company c
JOIN workspace w ON w.company_id = c.id
JOIN project p ON p.workspace_id = w.id
WHERE c.name = $1
ORDER BY c.id, w.id, p.id
LIMIT 1

-- name: insert_company
-- A new company on its plan.
INSERT INTO company (id, name, plan) VALUES (uuidv7(), $1, $2) RETURNING id

-- name: insert_workspace
-- A new workspace of the company.
INSERT INTO workspace (id, company_id, name) VALUES (uuidv7(), $1, $2) RETURNING id

-- name: insert_project
-- A new project of the workspace.
INSERT INTO project (id, company_id, workspace_id, name) VALUES (uuidv7(), $1, $2, $3) RETURNING id

-- name: insert_key
-- A new key, as its HMAC; without a workspace it is the company's.
INSERT INTO api_key (id, company_id, workspace_id, key_hash, prefix, name) VALUES (uuidv7(), $1, $2, $3, $4, $5)
