-- name: find_key
-- The key stored under one of these hashes, unless it was revoked (authentication; expiry is judged by the caller).
SELECT id, company_id, workspace_id, expires_at
FROM api_key
WHERE key_hash = ANY($1::bytea[]) AND revoked_at IS NULL
