-- Queries of retention-marking, in the role hyrelog_scheduler.

-- name: companies
-- The next companies behind one.
SELECT id FROM company WHERE id > $1 ORDER BY id LIMIT $2

-- name: history
-- Which retention a company had from when on.
SELECT since, hot_days, archive_days, cold_after_days FROM company_retention WHERE company_id = $1 ORDER BY since

-- name: standing
-- The next $3 workspaces of a company behind one that have events which are not marked: the first such event, its day (null: it is not there),
-- and the last one.
SELECT w.id, w.kind, coalesce(marked.to_seq, 0) + 1 AS seq, next.archive_day, h.seq AS head
FROM workspace w
JOIN chain_head h ON h.workspace_id = w.id
LEFT JOIN LATERAL (SELECT r.to_seq FROM archive_range r WHERE r.workspace_id = w.id ORDER BY r.to_seq DESC LIMIT 1) marked ON true
LEFT JOIN events next ON next.workspace_id = w.id AND next.seq = coalesce(marked.to_seq, 0) + 1
WHERE w.company_id = $1 AND w.id > $2 AND h.seq > coalesce(marked.to_seq, 0)
ORDER BY w.id
LIMIT $3

-- name: day_ends
-- Of each workspace $1, between the seqs $2 and $3, the last one of the archive day $4, on which the first one lies. By halving: days rise with seq.
WITH RECURSIVE halved (workspace_id, low, high) AS (
  SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
  UNION ALL
  SELECT h.workspace_id, CASE WHEN e.archive_day <= $4 THEN (h.low + h.high + 1) / 2 ELSE h.low END,
         CASE WHEN e.archive_day <= $4 THEN h.high ELSE (h.low + h.high + 1) / 2 - 1 END
  FROM halved h
  CROSS JOIN LATERAL (SELECT archive_day FROM events e WHERE e.workspace_id = h.workspace_id AND e.seq = (h.low + h.high + 1) / 2) e
  WHERE h.low < h.high
)
SELECT workspace_id, low AS seq FROM halved WHERE low >= high

-- name: receipts
-- When a workspace's next events were received.
SELECT seq, received_at FROM events WHERE workspace_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4

-- name: edges
-- The hashes at the ends of runs, and the one before each.
SELECT e.workspace_id, e.seq, e.prev_hash, e.hash
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (workspace_id, seq)
JOIN events e ON e.workspace_id = wanted.workspace_id AND e.seq = wanted.seq

-- name: last_part
-- The highest number of a part of a company's day.
SELECT coalesce(max(part), 0) FROM archive_part WHERE company_id = $1 AND archive_day = $2

-- name: insert_part
-- A part that is to be archived.
INSERT INTO archive_part (id, company_id, archive_day, part, row_count, archive_until, cold_after_days, marked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: insert_ranges
-- A day's ranges, each with its part or, without an archive, with none. In one statement: each begins where another one of them may end.
INSERT INTO archive_range (workspace_id, from_seq, to_seq, first_prev_hash, first_hash, last_hash, hot_until, part_id, company_id, archive_day, marked_at)
SELECT r.workspace_id, r.from_seq, r.to_seq, r.first_prev_hash, r.first_hash, r.last_hash, r.hot_until, r.part_id, $9::uuid, $10::date, $11::timestamptz
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::timestamptz[], $8::uuid[])
  AS r (workspace_id, from_seq, to_seq, first_prev_hash, first_hash, last_hash, hot_until, part_id)
