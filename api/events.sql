-- Finding events (GET /v1/events). Why there are two ways to, and what each costs: ops/docs/query.md.
-- $1 is the company, $2 what is asked (event_filter), $3 a workspace or null, $4 the place to go on behind (event_place).

-- name: walk_workspace_desc
-- Of the next $5 of a workspace's events by time, newest first, the first $6 that are asked for; and number $5, if there are so many.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, w.is_asked, w.number
FROM (
  SELECT e.workspace_id, e.seq, e.occurred_at, is_asked(e, $2::event_filter) AS is_asked,
         row_number() OVER (ORDER BY e.occurred_at DESC, e.seq DESC) AS number
  FROM events e
  WHERE e.company_id = $1 AND e.workspace_id = $3 AND (e.occurred_at, e.seq) < (($4::event_place).occurred_at, ($4::event_place).seq)
    AND e.occurred_at >= ($2::event_filter).occurred_from
  ORDER BY e.occurred_at DESC, e.seq DESC
  LIMIT $5
) w JOIN events e USING (workspace_id, seq)
WHERE w.is_asked OR w.number = $5
ORDER BY w.occurred_at DESC, w.seq DESC
LIMIT $6

-- name: walk_workspace_asc
-- The same of a workspace's events by time, oldest first.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, w.is_asked, w.number
FROM (
  SELECT e.workspace_id, e.seq, e.occurred_at, is_asked(e, $2::event_filter) AS is_asked,
         row_number() OVER (ORDER BY e.occurred_at, e.seq) AS number
  FROM events e
  WHERE e.company_id = $1 AND e.workspace_id = $3 AND (e.occurred_at, e.seq) > (($4::event_place).occurred_at, ($4::event_place).seq)
    AND e.occurred_at < ($2::event_filter).occurred_to
  ORDER BY e.occurred_at, e.seq
  LIMIT $5
) w JOIN events e USING (workspace_id, seq)
WHERE w.is_asked OR w.number = $5
ORDER BY w.occurred_at, w.seq
LIMIT $6

-- name: walk_company_desc
-- The same of a company's events by time, newest first.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, w.is_asked, w.number
FROM (
  SELECT e.workspace_id, e.seq, e.occurred_at, e.id, is_asked(e, $2::event_filter) AS is_asked,
         row_number() OVER (ORDER BY e.occurred_at DESC, e.id DESC) AS number
  FROM events e
  WHERE e.company_id = $1 AND $3::uuid IS NULL AND (e.occurred_at, e.id) < (($4::event_place).occurred_at, ($4::event_place).id)
    AND e.occurred_at >= ($2::event_filter).occurred_from
  ORDER BY e.occurred_at DESC, e.id DESC
  LIMIT $5
) w JOIN events e USING (workspace_id, seq)
WHERE w.is_asked OR w.number = $5
ORDER BY w.occurred_at DESC, w.id DESC
LIMIT $6

-- name: walk_company_asc
-- The same of a company's events by time, oldest first.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, w.is_asked, w.number
FROM (
  SELECT e.workspace_id, e.seq, e.occurred_at, e.id, is_asked(e, $2::event_filter) AS is_asked,
         row_number() OVER (ORDER BY e.occurred_at, e.id) AS number
  FROM events e
  WHERE e.company_id = $1 AND $3::uuid IS NULL AND (e.occurred_at, e.id) > (($4::event_place).occurred_at, ($4::event_place).id)
    AND e.occurred_at < ($2::event_filter).occurred_to
  ORDER BY e.occurred_at, e.id
  LIMIT $5
) w JOIN events e USING (workspace_id, seq)
WHERE w.is_asked OR w.number = $5
ORDER BY w.occurred_at, w.id
LIMIT $6

-- name: walk_seq_desc
-- The same of a workspace's events as stored, newest first.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, w.is_asked, w.number
FROM (
  SELECT e.workspace_id, e.seq, is_asked(e, $2::event_filter) AS is_asked,
         row_number() OVER (ORDER BY e.seq DESC) AS number
  FROM events e
  WHERE e.company_id = $1 AND e.workspace_id = $3 AND e.seq < ($4::event_place).seq
  ORDER BY e.seq DESC
  LIMIT $5
) w JOIN events e USING (workspace_id, seq)
WHERE w.is_asked OR w.number = $5
ORDER BY w.seq DESC
LIMIT $6

-- name: walk_seq_asc
-- The same of a workspace's events as stored, oldest first.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, w.is_asked, w.number
FROM (
  SELECT e.workspace_id, e.seq, is_asked(e, $2::event_filter) AS is_asked,
         row_number() OVER (ORDER BY e.seq) AS number
  FROM events e
  WHERE e.company_id = $1 AND e.workspace_id = $3 AND e.seq > ($4::event_place).seq
  ORDER BY e.seq
  LIMIT $5
) w JOIN events e USING (workspace_id, seq)
WHERE w.is_asked OR w.number = $5
ORDER BY w.seq
LIMIT $6

-- name: found
-- Up to $8 candidates of each kind, in no order: those that have the tokens $5, and of what can't be searched those that are asked for.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, is_asked(e, $2::event_filter) AS is_asked
FROM (
  SELECT f.workspace_id, f.seq
  FROM search_found($1, $3, $2::event_filter, $5::bigint[], $6::text, $7::boolean, $4::event_place, 0, $8) f
  UNION
  (SELECT t.workspace_id, t.seq
   FROM (
     SELECT t.* FROM search_indexed($1, $3) i CROSS JOIN LATERAL (
       SELECT e.workspace_id, e.seq, place_of(e, $6) AS place
       FROM events e
       WHERE e.company_id = $1 AND e.workspace_id = i.workspace_id AND e.seq > i.seq AND is_asked(e, $2::event_filter)
       OFFSET 0  -- or else it may be joined by reading all events
     ) t
     UNION ALL
     SELECT t.* FROM search_missing($1, $3) m CROSS JOIN LATERAL (
       SELECT e.workspace_id, e.seq, place_of(e, $6) AS place
       FROM events e
       WHERE e.company_id = $1 AND e.workspace_id = m.workspace_id AND e.seq = m.seq AND is_asked(e, $2::event_filter)
       OFFSET 0
     ) t
   ) t
   WHERE CASE WHEN $7 THEN t.place < $4::event_place ELSE t.place > $4::event_place END
   ORDER BY CASE WHEN $7 THEN t.place END DESC, CASE WHEN NOT $7 THEN t.place END
   LIMIT $8)
) c JOIN events e USING (workspace_id, seq)
WHERE e.company_id = $1

-- name: found_by_words
-- Up to $8 candidates, in no order, that have the tokens $5, words among them: what can't be searched yet is not found.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, is_asked(e, $2::event_filter) AS is_asked
FROM search_found($1, $3, $2::event_filter, $5::bigint[], $6::text, $7::boolean, $4::event_place, $9, $8) f
JOIN events e USING (workspace_id, seq)
WHERE e.company_id = $1

-- name: found_by_key
-- Up to $8 events, in no order, that the idempotency key $5 stands for: one in each workspace at most.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at, true AS is_asked
FROM (
  SELECT t.workspace_id, t.seq
  FROM workspace w CROSS JOIN LATERAL (
    SELECT e.workspace_id, e.seq, place_of(e, $6) AS place
    FROM event_key k JOIN events e USING (workspace_id, seq)
    WHERE k.company_id = $1 AND k.workspace_id = w.id AND k.key = $5 AND is_asked(e, $2::event_filter)
    OFFSET 0
  ) t
  WHERE w.company_id = $1 AND ($3::uuid IS NULL OR w.id = $3)
    AND CASE WHEN $7 THEN t.place < $4::event_place ELSE t.place > $4::event_place END
  ORDER BY CASE WHEN $7 THEN t.place END DESC, CASE WHEN NOT $7 THEN t.place END
  LIMIT $8
) c JOIN events e USING (workspace_id, seq)
WHERE e.company_id = $1

-- name: hot_since
-- From when on all events of the caller's are in the database; null when none was ever removed.
SELECT max(received_at) FROM chain_floor WHERE company_id = $1 AND ($2::uuid IS NULL OR workspace_id = $2)
