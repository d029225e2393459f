-- name: find_key
-- The key stored under one of these hashes, and what its company's plan allows (its end is judged by the caller).
SELECT id, company_id, workspace_id, expires_at, ip_allowlist, archived, revoked, limits FROM find_key($1)

-- name: note_key_use
-- When these keys were last used; keys that are gone are skipped.
SELECT note_key_use($1, $2)

-- name: count_processes
-- How many processes serve requests on this database, by the names of their connections (whether limits need a shared store).
SELECT count(DISTINCT split_part(application_name, ' ', 2))
FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^hyrelog-(ingest|api) '

-- name: list_sources
-- Where every partition of a topic stands (hyrelog unpark).
SELECT partition, topic_id, offset_base, next_offset, announced, parked_reason, parked_at
FROM source WHERE topic = $1 ORDER BY partition

-- name: unpark
-- Let a parked partition go on: the topic as it is now, and what is to be added to its offsets.
UPDATE source SET topic_id = $3, offset_base = $4, parked_reason = NULL, parked_at = NULL
WHERE topic = $1 AND partition = $2 AND parked_reason IS NOT NULL AND next_offset = $5

-- name: record_decision
-- What an operator decided, in the transaction that carries it out.
INSERT INTO operator_decision (decided_by, action, detail) VALUES ($1, $2, $3::jsonb)

-- name: list_dead
-- What the sinks could not take, newest first (hyrelog dead-letters).
(SELECT 'search' AS sink, id, died_at, partition, record_offset, workspace_id, seq, reason FROM search_dead ORDER BY id DESC LIMIT $1)
UNION ALL
(SELECT 'webhooks', id, died_at, partition, record_offset, workspace_id, seq, reason FROM webhook_dead ORDER BY id DESC LIMIT $1)
ORDER BY died_at DESC, sink, id DESC LIMIT $1

-- name: stale_secrets
-- The webhooks that have a secret under another key than this one, by id, from behind one on (hyrelog rekey).
SELECT id, secret, previous_secret FROM webhook
WHERE id > $1 AND (substr(secret, 1, 4) <> $2 OR substr(previous_secret, 1, 4) <> $2)
ORDER BY id LIMIT $3

-- name: count_stale_secrets
-- How many those are.
SELECT count(*) FROM webhook WHERE substr(secret, 1, 4) <> $1 OR substr(previous_secret, 1, 4) <> $1

-- name: replace_secrets
-- Other secrets for webhooks that still have those that were read.
UPDATE webhook SET secret = made.secret, previous_secret = made.previous
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[]) AS made (id, secret, previous, old_secret, old_previous)
WHERE webhook.id = made.id AND webhook.secret = made.old_secret AND webhook.previous_secret IS NOT DISTINCT FROM made.old_previous
RETURNING webhook.id

-- name: stale_data_keys
-- The companies whose data key is wrapped under another key than this one, by id, from behind one on (hyrelog rekey).
SELECT company_id AS id, wrapped AS secret, NULL::bytea AS previous_secret FROM company_data_key
WHERE company_id > $1 AND substr(wrapped, 1, 4) <> $2
ORDER BY company_id LIMIT $3

-- name: count_stale_data_keys
-- How many those are.
SELECT count(*) FROM company_data_key WHERE substr(wrapped, 1, 4) <> $1

-- name: replace_data_keys
-- Data keys wrapped anew, of companies that still have those that were read. A company has one.
UPDATE company_data_key SET wrapped = made.secret
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[]) AS made (id, secret, previous, old_secret, old_previous)
WHERE company_data_key.company_id = made.id AND company_data_key.wrapped = made.old_secret
RETURNING company_data_key.company_id AS id
