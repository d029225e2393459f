-- Statements of api/management.py, each in a transaction of the company that it works for.

-- name: count_operation
-- One more management operation of the company in this minute, by the database's clock, which all replicas share.
INSERT INTO management_use AS used (company_id, minute_at, operations)
VALUES ($1, date_trunc('minute', now(), 'UTC'), 1)
ON CONFLICT (company_id) DO UPDATE SET
  operations = CASE WHEN used.minute_at = EXCLUDED.minute_at THEN used.operations + 1 ELSE 1 END,
  minute_at = EXCLUDED.minute_at
RETURNING operations, ceil(extract(epoch FROM minute_at + interval '1 minute' - now()))::integer AS seconds_left

-- name: workspace_of_company
-- What a new key's workspace is like.
SELECT kind, archived_at IS NOT NULL AS archived FROM workspace WHERE id = $1 AND company_id = $2

-- name: insert_key
-- A new key, as its HMAC; without a workspace it is the company's.
INSERT INTO api_key (id, company_id, workspace_id, key_hash, prefix, name, expires_at, ip_allowlist, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::timestamptz, $8::cidr[], $9::timestamptz)

-- name: held_keys
-- Keys of the company as they stand now, and until the transaction ends: neither may a revocation slip in between, nor two rotations
-- both succeed. Held in the order of their ids: of two that rotate each other's key, one waits.
SELECT k.id, k.workspace_id, k.prefix, k.name, k.expires_at, k.revoked_at, k.created_at, k.ip_allowlist, k.rotated_to, u.last_used_at
FROM api_key k LEFT JOIN api_key_use u ON u.key_id = k.id AND u.company_id = k.company_id
WHERE k.id = ANY($1::uuid[]) AND k.company_id = $2
ORDER BY k.id
FOR NO KEY UPDATE OF k

-- name: retire_key
-- The key gives way to its successor at the end of the overlap.
UPDATE api_key SET rotated_to = $3, expires_at = $4::timestamptz WHERE id = $1 AND company_id = $2

-- name: key_of_caller
-- What the calling key may know of itself.
SELECT k.id, k.workspace_id, k.prefix, k.name, k.expires_at, k.revoked_at, k.created_at, k.ip_allowlist, k.rotated_to, u.last_used_at
FROM api_key k LEFT JOIN api_key_use u ON u.key_id = k.id AND u.company_id = k.company_id
WHERE k.id = $1 AND k.company_id = $2

-- name: keys_of_company
-- A page of the company's keys in the order of their ids, of all of it or of one workspace.
SELECT k.id, k.workspace_id, k.prefix, k.name, k.expires_at, k.revoked_at, k.created_at, k.ip_allowlist, k.rotated_to, u.last_used_at
FROM api_key k LEFT JOIN api_key_use u ON u.key_id = k.id AND u.company_id = k.company_id
WHERE k.company_id = $1 AND ($2::uuid IS NULL OR k.workspace_id = $2) AND k.id > $3
ORDER BY k.id
LIMIT $4

-- name: revoke_key
-- From now on (at most ten seconds later, for a process that knows it) the key is nobody's.
UPDATE api_key SET revoked_at = $3::timestamptz WHERE id = $1 AND company_id = $2

-- name: set_allowlist
-- From where a key may be used; from anywhere when empty.
UPDATE api_key SET ip_allowlist = $3::cidr[] WHERE id = $1 AND company_id = $2
