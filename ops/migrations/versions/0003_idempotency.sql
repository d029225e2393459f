-- Idempotency: a key names one event of its workspace. Ingest's claims propose, the chain worker decides
-- (ops/docs/idempotency.md).

-- Which id ingest proposes for a key. Only a proposal: a claim that is lost costs an alias, no event; so it is not logged,
-- and a crash of the database may empty it. Swept after 24 hours.
CREATE UNLOGGED TABLE key_claim (
  workspace_id uuid NOT NULL,
  key          text COLLATE "C" NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
  company_id   uuid NOT NULL,
  event_id     uuid NOT NULL,
  content      bytea NOT NULL CHECK (length(content) IN (32, 64)),
  received_at  timestamptz NOT NULL,       -- of every copy that is published under this claim
  PRIMARY KEY (workspace_id, key)
);
-- No BRIN: swept pages are filled anew, so that each of its ranges soon holds old and young, and a sweep reads the table whole.
CREATE INDEX key_claim_age ON key_claim (received_at);

-- The event that a key stands for: the first one sequenced. Written with the event's row, under the same locks.
-- One table and no partitions, so that a key is unique whatever the day (ADR 6).
CREATE TABLE event_key (
  workspace_id uuid NOT NULL,
  key          text COLLATE "C" NOT NULL,
  company_id   uuid NOT NULL,
  seq          bigint NOT NULL,
  event_id     uuid NOT NULL,
  content      bytea NOT NULL,             -- HMACs of the event as sent (schemas/idempotency.py)
  PRIMARY KEY (workspace_id, key)
);

-- An accepted event that repeats another one: its id leads to the first.
CREATE TABLE event_alias (
  id               uuid PRIMARY KEY,
  company_id       uuid NOT NULL,
  workspace_id     uuid NOT NULL,
  seq              bigint NOT NULL,        -- of the first event
  event_id         uuid NOT NULL,          -- of the first event
  source_partition integer NOT NULL,
  source_offset    bigint NOT NULL,
  source_index     integer NOT NULL,
  received_at      timestamptz NOT NULL
);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['event_key', 'event_alias'] LOOP
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
    EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name || '_no_truncate', name);
    EXECUTE format('CREATE POLICY chain_writer ON %I TO hyrelog_streams USING (true)', name);
    EXECUTE format('CREATE POLICY ingest ON %I FOR SELECT TO hyrelog_ingest USING (true)', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO hyrelog_api USING (company_id = tenant_company()'
      ' AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['key_claim', 'event_key', 'event_alias'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner ON %I TO %I USING (true)', name, current_user);
  END LOOP;
END $$;
CREATE POLICY ingest ON key_claim TO hyrelog_ingest USING (true);

GRANT SELECT, INSERT, DELETE ON key_claim TO hyrelog_ingest;
GRANT SELECT, INSERT ON event_key, event_alias TO hyrelog_streams;
GRANT SELECT ON event_key, event_alias TO hyrelog_ingest;
GRANT SELECT (workspace_id, key, company_id, seq) ON event_key TO hyrelog_api;
GRANT SELECT (id, company_id, workspace_id, seq) ON event_alias TO hyrelog_api;
GRANT SELECT (reason) ON rejected TO hyrelog_ingest;
