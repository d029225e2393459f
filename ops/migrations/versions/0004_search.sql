-- Finding events: by words, and by filters that the events table has no index for.
--
-- New group role:
--   hyrelog_search  the search sink: fills the search table and keeps its place in the events topic

DO $$
BEGIN
  CREATE ROLE hyrelog_search NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- One row an event: what can be asked of it, as numbers (schemas/tokens.py). Filled in seq order per workspace, so that
-- everything up to a workspace's highest seq here is found through this table, and only what is above it elsewhere.
CREATE TABLE search (
  workspace_id uuid NOT NULL,
  seq          bigint NOT NULL,
  company_id   uuid NOT NULL,
  occurred_at  timestamptz NOT NULL,
  received_at  timestamptz NOT NULL,
  id           uuid NOT NULL,
  tokens       bigint[] NOT NULL,
  PRIMARY KEY (workspace_id, seq)
);

-- How far the sink has come in a partition of the events topic; committed with its rows.
CREATE TABLE search_position (
  topic       text NOT NULL,
  partition   integer NOT NULL CHECK (partition >= 0),
  topic_id    uuid NOT NULL,
  next_offset bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

ALTER TABLE search ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DO $$ BEGIN EXECUTE format('CREATE POLICY owner ON search TO %I USING (true)', current_user); END $$;
CREATE POLICY search_writer ON search TO hyrelog_search USING (true);

GRANT USAGE ON SCHEMA public TO hyrelog_search;
GRANT SELECT ON database_region TO hyrelog_search;
GRANT SELECT, INSERT ON search TO hyrelog_search;
GRANT SELECT, INSERT ON search_position TO hyrelog_search;
GRANT UPDATE (topic_id, next_offset) ON search_position TO hyrelog_search;
