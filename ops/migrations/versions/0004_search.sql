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
  next_offset bigint NOT NULL,
  refill_from uuid,                        -- workspaces from here on are still to be compared with their chains; null: none
  PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- What the sink could not take, and why: the event is in its chain, but is not found by words. Looked at by the operator.
CREATE TABLE search_dead (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  died_at       timestamptz NOT NULL DEFAULT now(),
  topic         text NOT NULL,
  partition     integer NOT NULL,
  record_offset bigint,                    -- null: it was read from events
  workspace_id  uuid,                      -- null: the record could not be read; its event then comes from events
  seq           bigint,
  reason        text NOT NULL
);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['search', 'search_dead'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner ON %I TO %I USING (true)', name, current_user);
    EXECUTE format('CREATE POLICY search_writer ON %I TO hyrelog_search USING (true)', name);
  END LOOP;
END $$;
CREATE POLICY search_writer ON events FOR SELECT TO hyrelog_search USING (true);
CREATE POLICY search_writer ON chain_head FOR SELECT TO hyrelog_search USING (true);

GRANT USAGE ON SCHEMA public TO hyrelog_search;
GRANT SELECT ON database_region TO hyrelog_search;
GRANT SELECT, INSERT ON search TO hyrelog_search;
GRANT SELECT, INSERT ON search_position TO hyrelog_search;
GRANT UPDATE (topic_id, next_offset, refill_from) ON search_position TO hyrelog_search;
GRANT INSERT ON search_dead TO hyrelog_search;
GRANT SELECT (workspace_id, seq) ON chain_head TO hyrelog_search;
-- What a hole is read from: all of an event but its context, which is not searched.
GRANT SELECT (seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
              occurred_at, received_at, category, action, outcome, commitments, actor, resource, metadata, erased_at)
  ON events TO hyrelog_search;
