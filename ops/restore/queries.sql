-- Restore requests (ops/docs/restore.md), as hyrelog_api, hyrelog_dashboard or hyrelog_admin.

-- name: sought
-- A part of the company $1 that somebody wants restored; with what the company's plan allows, its overrides over it. One whose age has come
-- is cold to the store, though the marker may come by days later.
SELECT p.key, p.size, p.is_cold_archived OR coalesce(p.archived_at + p.cold_after_days * interval '24 hours' < $3::timestamptz, false)
  AS is_cold_archived, p.restored_until, p.expiring_at IS NOT NULL AS is_expiring, plan.limits || c.overrides AS limits
FROM archive_part p JOIN company c ON c.id = p.company_id JOIN plan ON plan.name = c.plan
WHERE p.company_id = $1 AND p.id = $2 AND p.archived_at IS NOT NULL

-- name: terms
-- What the company's plan allows by now, and whether the part of a request that waits is being removed.
SELECT plan.limits || c.overrides AS limits, p.expiring_at IS NOT NULL AS is_expiring
FROM archive_part p JOIN company c ON c.id = p.company_id JOIN plan ON plan.name = c.plan
WHERE p.company_id = $1 AND p.id = $2

-- name: insert
-- A new request; nothing is returned when its part has an active one.
INSERT INTO restore_request (id, company_id, part_id, archive_key, size, tier, days, cost_usd, prices_as_of, earliest_seconds, latest_seconds,
  requested_by, requested_email, requested_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (part_id) WHERE state IN ('PENDING', 'APPROVED', 'INITIATING', 'IN_PROGRESS', 'COMPLETED') DO NOTHING
RETURNING id

-- name: active
-- A part's active request.
SELECT id, state FROM restore_request
WHERE company_id = $1 AND part_id = $2 AND state IN ('PENDING', 'APPROVED', 'INITIATING', 'IN_PROGRESS', 'COMPLETED')

-- name: get
-- One request; of company $2, or of any (null).
SELECT * FROM restore_request WHERE id = $1 AND ($2::uuid IS NULL OR company_id = $2)

-- name: page_of_company
-- A page of a company's requests, the newest first, from in front of $2.
SELECT * FROM restore_request
WHERE company_id = $1 AND id < $2 AND ($3::text IS NULL OR state = $3)
ORDER BY id DESC LIMIT $4

-- name: page
-- A page of all companies' requests, the newest first, from in front of $1.
SELECT * FROM restore_request
WHERE id < $1 AND ($2::text IS NULL OR state = $2)
ORDER BY id DESC LIMIT $3

-- name: decide
-- Take the request $1 of company $2 from state $3 to $4; nothing is returned when it is in that state no more.
UPDATE restore_request SET state = $4, reason = $5, decided_by = $6, decided_email = $7, decided_at = $8::timestamptz
WHERE id = $1 AND company_id = $2 AND state = $3
RETURNING *
