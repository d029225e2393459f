#!/usr/bin/env bash
# A statement prepared while a table was empty goes on reading the whole table when it has a million rows.
#
# Expected: PostgreSQL plans by the table's size on disk, also without ANALYZE, so a statement by primary key uses the index as
#   soon as the table has grown: asked directly, it does.
# Seen: a prepared statement's generic plan is kept until something invalidates it, and growing is nothing of the kind: only
#   ANALYZE, VACUUM or DDL. One that was planned on an empty, analysed table is a sequential scan until then.
# Matters: drivers prepare by themselves (asyncpg does, psycopg after five times). A service that was started before its first
#   events, and then gets a burst, looks each key up by reading all of it, until autovacuum comes by.
# HyreLog: ops/db.py gives pools whose statements look rows up by key `enable_seqscan=off` (BY_INDEX).

. "$(dirname "$0")/lib.sh"
start_postgres -c autovacuum=off

seen=$("${psql[@]}" <<'SQL'
CREATE TABLE event_key (workspace int, key text, event bigint, PRIMARY KEY (workspace, key));
VACUUM ANALYZE event_key;
PREPARE find (int, text) AS SELECT event FROM event_key WHERE workspace = $1 AND key = $2;
-- The sixth time PostgreSQL takes a generic plan, which is no dearer than those before it.
EXECUTE find(1, 'k1') \; EXECUTE find(1, 'k2') \; EXECUTE find(1, 'k3') \; EXECUTE find(1, 'k4') \; EXECUTE find(1, 'k5') \; EXECUTE find(1, 'k6');
INSERT INTO event_key SELECT 1, 'k' || n, n FROM generate_series(1, 1000000) n;
\echo 'asked directly:'
EXPLAIN (COSTS OFF) SELECT event FROM event_key WHERE workspace = 1 AND key = 'k1';
\echo 'prepared while it was empty:'
EXPLAIN (COSTS OFF) EXECUTE find(1, 'k1');
ANALYZE event_key;
\echo 'prepared, behind ANALYZE:'
EXPLAIN (COSTS OFF) EXECUTE find(1, 'k1');
SQL
)
conclude "$seen" <<'EOF'
asked directly:
Bitmap Heap Scan on event_key
  Recheck Cond: ((workspace = 1) AND (key = 'k1'::text))
  ->  Bitmap Index Scan on event_key_pkey
        Index Cond: ((workspace = 1) AND (key = 'k1'::text))
prepared while it was empty:
Seq Scan on event_key
  Filter: ((workspace = $1) AND (key = $2))
prepared, behind ANALYZE:
Index Scan using event_key_pkey on event_key
  Index Cond: ((workspace = 1) AND (key = 'k1'::text))
EOF
