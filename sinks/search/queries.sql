-- Queries of the search sink, in the role hyrelog_search. Those up to `is_taken` are every sink's (sinks/store.py).

-- name: lock_position
-- Where the sink stands in a partition; whoever holds this lock is the only one who writes for it.
SELECT topic_id, next_offset, refill_from FROM search_position WHERE topic = $1 AND partition = $2 FOR UPDATE

-- name: put_position
-- Where it goes on.
INSERT INTO search_position (topic, partition, topic_id, next_offset, refill_from) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (topic, partition) DO UPDATE
SET topic_id = excluded.topic_id, next_offset = excluded.next_offset, refill_from = excluded.refill_from

-- name: heads
-- The last event that the sink has, or had until it was purged, of each workspace.
SELECT w.id, greatest(last.seq, f.seq)
FROM unnest($1::uuid[]) AS w (id)
LEFT JOIN LATERAL (SELECT seq FROM search WHERE workspace_id = w.id ORDER BY seq DESC LIMIT 1) AS last ON true
LEFT JOIN chain_floor f ON f.workspace_id = w.id
WHERE last.seq IS NOT NULL OR f.seq IS NOT NULL

-- name: events_after
-- What the topic lacks of a workspace, from its chain. The context is not searched, and not shown to this role.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, NULL::bytea AS context, metadata, erased_at
FROM events WHERE workspace_id = $1 AND seq > $2 AND seq <= $3
ORDER BY seq LIMIT $4

-- name: workspaces_after
-- The next workspaces, with how far their chains and the sink are.
SELECT h.workspace_id, h.seq AS stored, greatest(last.seq, f.seq, 0) AS taken
FROM (SELECT workspace_id, seq FROM chain_head WHERE workspace_id > $1 ORDER BY workspace_id LIMIT $2) AS h
LEFT JOIN LATERAL (SELECT seq FROM search WHERE workspace_id = h.workspace_id ORDER BY seq DESC LIMIT 1) AS last ON true
LEFT JOIN chain_floor f ON f.workspace_id = h.workspace_id
ORDER BY h.workspace_id

-- name: bury
-- What the sink can't take, for the operator to see. A workspace's last event may die again when the sink begins anew.
INSERT INTO search_dead (topic, partition, record_offset, workspace_id, seq, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING

-- name: letters_after
-- What may be tried again. This and the next two are asked in the owner's role (python -m sinks search --retry-dead).
SELECT id, partition, workspace_id, seq FROM search_dead WHERE topic = $1 AND id > $2 ORDER BY id LIMIT 1000

-- name: forget_letter
-- It is tried again, in this transaction.
DELETE FROM search_dead WHERE id = $1

-- name: is_taken
-- Whether the sink took it after all.
SELECT EXISTS (SELECT FROM search WHERE workspace_id = $1 AND seq = $2)

-- name: insert_rows
-- Index events, but those purged meanwhile. Not by COPY, which row-level security forbids; tokens are text, as arrays of one length alone unnest.
INSERT INTO search (workspace_id, seq, company_id, occurred_at, received_at, id, tokens)
SELECT n.workspace_id, n.seq, n.company_id, n.occurred_at, n.received_at, n.id, n.tokens::bigint[]
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::uuid[], $7::text[])
  AS n (workspace_id, seq, company_id, occurred_at, received_at, id, tokens)
WHERE NOT EXISTS (SELECT FROM chain_floor f WHERE f.workspace_id = n.workspace_id AND f.seq >= n.seq)
