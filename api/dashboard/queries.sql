-- What the dashboard does to workspaces and projects, each in a transaction of the company that it works for.

-- name: insert_workspace
-- A new workspace.
INSERT INTO workspace (id, company_id, name, created_at) VALUES ($1, $2, $3, $4::timestamptz)

-- name: hold_workspace
-- A workspace of the company, which nobody else changes until the transaction ends.
SELECT w.id, w.name, w.kind, w.archived_at, w.created_at, coalesce(h.seq, 0) AS seq
FROM workspace w LEFT JOIN chain_head h ON h.workspace_id = w.id AND h.company_id = w.company_id
WHERE w.id = $1 AND w.company_id = $2
FOR NO KEY UPDATE OF w

-- name: set_archived
-- Since when a workspace takes no events; null: it does.
UPDATE workspace SET archived_at = $3::timestamptz WHERE id = $1 AND company_id = $2

-- name: insert_project
-- A new project of a workspace.
INSERT INTO project (id, company_id, workspace_id, name, created_at) VALUES ($1, $2, $3, $4, $5::timestamptz)

-- name: archives
-- A page of the company's archives, the newest first, from in front of an id; neither those that are not written yet nor what has expired.
SELECT id, archive_day, part, key, row_count, size, archived_at, verified_at, archive_until, is_cold_archived, restored_until
FROM archive_part
WHERE company_id = $1 AND id < $2 AND archived_at IS NOT NULL AND expiring_at IS NULL
ORDER BY id DESC
LIMIT $3
