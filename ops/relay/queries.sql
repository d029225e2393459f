-- Queries of the audit relay, in the role hyrelog_relay.

-- name: outbox_standing
-- How many entries wait, and since when the oldest one does.
SELECT count(*) AS entries, min(made_at) AS oldest FROM audit_outbox

-- name: lock_region
-- One relay at a time works a region, until its transaction ends; false when it is another one's turn.
SELECT pg_try_advisory_xact_lock(hashtextextended('hyrelog.relay', 0))

-- name: oldest_entries
-- The next entries in their order: at most so many, and at most so many bytes but one at least.
SELECT position, event_id, company_id, workspace_id, record
FROM (
  SELECT position, event_id, company_id, workspace_id, record,
         sum(octet_length(record)) OVER (ORDER BY position) - octet_length(record) AS bytes_before
  FROM audit_outbox ORDER BY position LIMIT $1
) AS oldest
WHERE bytes_before < $2::bigint
ORDER BY position

-- name: delete_entries
-- Entries that Kafka has acknowledged.
DELETE FROM audit_outbox WHERE position = ANY($1::bigint[])
