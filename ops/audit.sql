-- Queries of ops/audit.py.

-- name: company_holder
-- A company and its AUDIT workspace.
SELECT company_id, id FROM workspace WHERE company_id = $1 AND kind = 'AUDIT'

-- name: operator_holder
-- The operator's own company and AUDIT workspace.
SELECT company_id, workspace_id FROM operator_audit_workspace()

-- name: insert_entry
-- An entry on its way into the pipeline, in the transaction of the action it tells of; relays hear of it when that commits.
WITH entry AS (INSERT INTO audit_outbox (event_id, company_id, workspace_id, record) VALUES ($1, $2, $3, $4) RETURNING 1)
SELECT pg_notify('audit_outbox', '') FROM entry
