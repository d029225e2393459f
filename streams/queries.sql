-- name: ensure_source
-- A partition seen for the first time starts at its beginning.
INSERT INTO source (topic, partition, topic_id) VALUES ($1, $2, $3)
ON CONFLICT (topic, partition) DO NOTHING

-- name: lock_source
-- Step 1: this row lock alone serialises every writer of the partition.
SELECT topic_id, offset_base, next_offset, announced, parked_reason
FROM source WHERE topic = $1 AND partition = $2 FOR UPDATE

-- name: read_sources
-- Where the partitions of a topic stand, without a lock: to seek, to announce when idle, to notice a decision.
SELECT partition, topic_id, offset_base, next_offset, announced, parked_reason
FROM source WHERE topic = $1

-- name: lock_heads
-- Step 3: the chain heads that are not cached, in one order for everybody.
SELECT workspace_id, seq, hash, archive_day - date '1970-01-01' AS archive_day
FROM chain_head WHERE workspace_id = ANY($1::uuid[]) ORDER BY workspace_id FOR UPDATE

-- name: settled_keys
-- Step 4: which of these idempotency keys stand for an event already, whatever day that was.
SELECT k.workspace_id, k.key, k.seq, k.event_id, k.content
FROM unnest($1::uuid[], $2::text[]) AS wanted (workspace_id, key)
JOIN event_key k ON k.workspace_id = wanted.workspace_id AND k.key = wanted.key

-- name: insert_keys
-- Keys that begin to stand for an event of this transaction.
INSERT INTO event_key (workspace_id, key, company_id, seq, event_id, content)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::uuid[], $6::bytea[])

-- name: insert_alias
-- An accepted event that repeats another. Published more than once, it comes more than once.
INSERT INTO event_alias (id, company_id, workspace_id, seq, event_id, source_partition, source_offset, source_index, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO NOTHING

-- name: advance_heads
-- Move heads on, each only if it is still where this chunk began.
UPDATE chain_head h
SET seq = n.seq, hash = n.hash, archive_day = date '1970-01-01' + n.archive_day, updated_at = now()
FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bytea[], $6::integer[])
  AS n (workspace_id, seq_before, hash_before, seq, hash, archive_day)
WHERE h.workspace_id = n.workspace_id AND h.seq = n.seq_before AND h.hash = n.hash_before

-- name: begin_heads
-- The first head of new workspaces.
INSERT INTO chain_head (workspace_id, company_id, seq, hash, archive_day, updated_at)
SELECT n.workspace_id, n.company_id, n.seq, n.hash, date '1970-01-01' + n.archive_day, now()
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bytea[], $5::integer[])
  AS n (workspace_id, company_id, seq, hash, archive_day)
ON CONFLICT (workspace_id) DO NOTHING

-- name: insert_rejections
-- What can't be stored is kept with its reason; a row an event.
INSERT INTO rejected (source_partition, source_offset, source_index, id, company_id, workspace_id,
                      reason, detail, received_at, rejected_at, original)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: advance_source
-- Step 4's end: the partition goes on at next_offset, and was announced up to this process's mark.
UPDATE source SET next_offset = $4, announced = greatest(announced, $5)
WHERE topic = $1 AND partition = $2 AND next_offset = $3

-- name: mark_announced
-- Persist the mark when idle and at shutdown.
UPDATE source SET announced = $3
WHERE topic = $1 AND partition = $2 AND announced < $3 AND $3 <= next_offset

-- name: park
-- Stop a partition until an operator decides. The first reason stays.
UPDATE source SET parked_reason = $3, parked_at = now()
WHERE topic = $1 AND partition = $2 AND parked_reason IS NULL

-- name: events_to_announce
-- A page of what a partition stored from a place on, in the order of its source.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events
WHERE source_partition = $1 AND (source_offset, source_index) > ($2, $3) AND source_offset < $4
ORDER BY source_offset, source_index
LIMIT $5

-- name: rejections_to_announce
-- A page of a partition's rejections from a place on, in the order of its source.
SELECT source_offset, source_index, id, company_id, workspace_id, reason, detail, received_at, rejected_at, original
FROM rejected
WHERE source_partition = $1 AND (source_offset, source_index) > ($2, $3) AND source_offset < $4
ORDER BY source_offset, source_index
LIMIT $5

-- name: known_events
-- Which of these event ids are stored already, and what they hold: a topic read again from its beginning repeats them by the thousand.
SELECT id, workspace_id, commitments AS content FROM events WHERE id = ANY($1::uuid[])

-- name: terminate_blockers
-- End the backends of this role that keep another backend of ours waiting: frozen workers. The stored offset keeps it safe.
-- Materialised, or the planner would try to end every backend of the server first and ask for its role later.
WITH blockers AS MATERIALIZED (
  SELECT a.pid FROM unnest(pg_blocking_pids($1)) AS b (pid)
  JOIN pg_stat_activity a ON a.pid = b.pid
  WHERE a.usename = current_user
)
SELECT pid FROM blockers WHERE pg_terminate_backend(pid)
