#!/usr/bin/env bash
# Under row-level security PostgreSQL will not use an index for `@>`, LIKE or `@@`, however selective it is.
#
# Expected: a policy adds `company = …` to a statement; an index that served it goes on serving it.
# Seen: an operator that is not marked leakproof must not see rows that the policy hides, so it cannot be an index condition:
#   it becomes a filter behind the policy. Few operators are leakproof: `=` and `<` of plain types are; those of arrays,
#   patterns, full text and JSON are not. What was one row by the GIN index is now every row of the tenant.
# Matters: a tenant wall that is put under an existing search costs nothing in tests with ten rows, and reads a whole tenant in
#   production. It is no matter of statistics, and no hint helps.
# HyreLog: search_found() and its like (ops/migrations/versions/0004_search.sql) run as a role that may read the search table,
#   and name the company themselves.

. "$(dirname "$0")/lib.sh"
start_postgres

seen=$("${psql[@]}" <<'SQL'
CREATE TABLE word (company int, id int, words text[]);
INSERT INTO word SELECT n % 10, n, ARRAY['w' || n, 'all'] FROM generate_series(1, 100000) n;
CREATE INDEX word_words ON word USING gin (words);
CREATE INDEX word_id ON word (id);
VACUUM ANALYZE word;
CREATE ROLE tenant LOGIN;
GRANT SELECT ON word TO tenant;
SELECT o.oprname || ' of ' || o.oprleft::regtype || CASE WHEN p.proleakproof THEN ' is leakproof' ELSE ' is not leakproof' END
FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
WHERE o.oid IN ('=(int4,int4)'::regoperator, '@>(anyarray,anyarray)'::regoperator, '~~(text,text)'::regoperator, '@@(tsvector,tsquery)'::regoperator)
ORDER BY 1;
SET ROLE tenant;
\echo '- no policy, words @> ...'
EXPLAIN (COSTS OFF) SELECT id FROM word WHERE company = 7 AND words @> ARRAY['w17'];
RESET ROLE;
ALTER TABLE word ENABLE ROW LEVEL SECURITY;
CREATE POLICY wall ON word TO tenant USING (company = 7);
SET ROLE tenant;
\echo '- the same under a policy'
EXPLAIN (COSTS OFF) SELECT id FROM word WHERE company = 7 AND words @> ARRAY['w17'];
\echo '- under the policy, id = ...'
EXPLAIN (COSTS OFF) SELECT id FROM word WHERE id = 17;
SQL
)
conclude "$seen" <<'EOF'
= of integer is leakproof
@> of anyarray is not leakproof
@@ of tsvector is not leakproof
~~ of text is not leakproof
- no policy, words @> ...
Bitmap Heap Scan on word
  Recheck Cond: (words @> '{w17}'::text[])
  Filter: (company = 7)
  ->  Bitmap Index Scan on word_words
        Index Cond: (words @> '{w17}'::text[])
- the same under a policy
Seq Scan on word
  Filter: ((company = 7) AND (words @> '{w17}'::text[]))
- under the policy, id = ...
Index Scan using word_id on word
  Index Cond: (id = 17)
  Filter: (company = 7)
EOF
