-- Catching up (GET /v1/events/tail): everything stored behind a position, workspace by workspace. $1 is the company.

-- name: tail_standing
-- In one snapshot: how far each partition of the topic $3 has come, and the newest event of each of the caller's workspaces.
SELECT NULL::uuid AS workspace_id, s.partition, s.next_offset AS at, NULL::timestamptz AS updated_at
FROM source s WHERE s.topic = $3
UNION ALL
SELECT h.workspace_id, NULL, h.seq, h.updated_at
FROM workspace w JOIN chain_head h ON h.workspace_id = w.id
WHERE w.company_id = $1 AND ($2::uuid IS NULL OR w.id = $2)

-- name: tail_floors
-- Of each workspace $2 with the newest seq $3 the last seq at or behind the place ($4, $5), or received before $6. By halving: places rise
-- with seq, and times of receipt do so but for an hour.
WITH RECURSIVE halved (workspace_id, low, high, middle, source_offset, source_index) AS (
  SELECT f.workspace_id, 0::bigint, f.head, f.head, f.source_offset, f.source_index
  FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[]) AS f (workspace_id, head, source_offset, source_index)
  UNION ALL
  SELECT n.workspace_id, n.low, n.high, (n.low + n.high + 1) / 2, n.source_offset, n.source_index
  FROM (
    SELECT h.workspace_id, h.source_offset, h.source_index,
           CASE WHEN found.is_behind THEN found.seq ELSE h.low END AS low,
           CASE WHEN found.is_behind THEN h.high ELSE h.middle - 1 END AS high
    FROM halved h
    LEFT JOIN LATERAL (
      SELECT e.seq, coalesce(e.received_at < $6::timestamptz, (e.source_offset, e.source_index) <= (h.source_offset, h.source_index)) AS is_behind
      FROM events e
      WHERE e.company_id = $1 AND e.workspace_id = h.workspace_id AND e.seq >= h.middle AND e.seq <= h.high
      ORDER BY e.seq
      LIMIT 1
    ) found ON true
    WHERE h.low < h.high
  ) n
)
SELECT workspace_id, low AS seq FROM halved WHERE low >= high

-- name: tail_firsts
-- Of each workspace $2, behind seq $3 and up to seq $4: the first event received at $5 or later, and the last seq in front of it, or of all.
SELECT f.workspace_id, coalesce(passed.seq, f.after) AS floor, found.source_offset, found.source_index
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS f (workspace_id, after, upto)
LEFT JOIN LATERAL (
  SELECT e.seq, e.source_offset, e.source_index
  FROM events e
  WHERE e.company_id = $1 AND e.workspace_id = f.workspace_id AND e.seq > f.after AND e.seq <= f.upto AND e.received_at >= $5
  ORDER BY e.seq
  LIMIT 1
) found ON true
LEFT JOIN LATERAL (
  SELECT e.seq
  FROM events e
  WHERE e.company_id = $1 AND e.workspace_id = f.workspace_id AND e.seq > f.after AND e.seq < coalesce(found.seq, f.upto + 1)
  ORDER BY e.seq DESC
  LIMIT 1
) passed ON true

-- name: tail_keys
-- The next $6 events of each workspace $2 from behind seq $3 up to seq $4: where they are, whether they are asked for ($5), and their bytes.
SELECT k.workspace_id, k.seq, k.source_partition, k.source_offset, k.source_index, k.received_at, k.is_asked, k.size
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS f (workspace_id, after, upto)
CROSS JOIN LATERAL (
  SELECT e.workspace_id, e.seq, e.source_partition, e.source_offset, e.source_index, e.received_at,
         is_asked(e, $5::event_filter) AS is_asked,
         coalesce(octet_length(e.actor), 0) + coalesce(octet_length(e.resource), 0) + coalesce(octet_length(e.context), 0)
           + coalesce(octet_length(e.metadata), 0) AS size
  FROM events e
  WHERE e.company_id = $1 AND e.workspace_id = f.workspace_id AND e.seq > f.after AND e.seq <= f.upto
  ORDER BY e.seq
  LIMIT $6
) k

-- name: tail_events
-- These events, in this order; those that are gone are left out.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at
FROM unnest($2::uuid[], $3::bigint[]) WITH ORDINALITY AS k (workspace_id, seq, number)
JOIN events e ON e.workspace_id = k.workspace_id AND e.seq = k.seq
WHERE e.company_id = $1
ORDER BY k.number
