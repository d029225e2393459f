-- The spine: who may write (companies, workspaces, projects, keys), the chain, its events, and how far
-- each partition of the ingest topic has come. One such database per region.
--
-- Group roles carry the grants; a deployment's login roles are members of one of them each:
--   hyrelog_streams  the chain writer: inserts events and rejections, moves heads and offsets
--   hyrelog_ingest   looks up keys and projects, and what became of an event
--   hyrelog_api      reads
--   hyrelog_auditor  reads whole chains (hyrelog verify)
-- The owner migrates and is used by no service.

DO $$
DECLARE role text;
BEGIN
  -- Roles belong to the whole server: four databases of one server create them once, perhaps at the same time.
  FOREACH role IN ARRAY ARRAY['hyrelog_streams', 'hyrelog_ingest', 'hyrelog_api', 'hyrelog_auditor'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
END $$;

-- Which region this database is. A process whose settings say another refuses to start.
CREATE TABLE database_region (
  region     text PRIMARY KEY CHECK (region IN ('US', 'EU', 'UK', 'AU')),
  is_demo    boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX database_region_single ON database_region ((true));

CREATE TABLE company (
  id         uuid PRIMARY KEY,
  name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  plan       text NOT NULL CHECK (plan IN ('FREE', 'STARTER', 'GROWTH', 'ENTERPRISE')),
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workspace (
  id         uuid PRIMARY KEY,
  company_id uuid NOT NULL REFERENCES company (id),
  name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (company_id, id)
);

CREATE TABLE project (
  id           uuid PRIMARY KEY,
  company_id   uuid NOT NULL,
  workspace_id uuid NOT NULL,
  name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  created_at   timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id),
  UNIQUE (workspace_id, id)
);

-- key_hash = HMAC-SHA256(API_KEY_SECRET, key); the key itself is shown once and stored nowhere.
CREATE TABLE api_key (
  id           uuid PRIMARY KEY,
  company_id   uuid NOT NULL,
  workspace_id uuid,                       -- null: a company key
  key_hash     bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
  prefix       text NOT NULL,              -- the first characters, to tell keys apart by eye
  name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  expires_at   timestamptz,
  revoked_at   timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (company_id) REFERENCES company (id),
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id)
);

-- The newest link of every chain. Written by the chain worker alone, under the partition's row lock.
CREATE TABLE chain_head (
  workspace_id uuid PRIMARY KEY,
  company_id   uuid NOT NULL,
  seq          bigint NOT NULL CHECK (seq > 0),
  hash         bytea NOT NULL CHECK (length(hash) = 32),
  archive_day  date NOT NULL,
  updated_at   timestamptz NOT NULL
) WITH (fillfactor = 50);                  -- room for HOT updates: no column of an index ever changes

-- How far a partition of the ingest topic has come. Positions are Kafka offsets plus offset_base, so
-- that they go on rising when an operator decides to go on after a topic was made anew.
CREATE TABLE source (
  topic         text NOT NULL,
  partition     integer NOT NULL CHECK (partition >= 0),
  topic_id      uuid NOT NULL,
  offset_base   bigint NOT NULL DEFAULT 0,
  next_offset   bigint NOT NULL DEFAULT 0,  -- first position not yet persisted
  announced     bigint NOT NULL DEFAULT 0,  -- first position perhaps not yet on the events topic
  parked_reason text,
  parked_at     timestamptz,
  PRIMARY KEY (topic, partition),
  CHECK (announced <= next_offset)
) WITH (fillfactor = 50);

-- One row an event, in the order of its source; never updated but by the erasure of personal data.
-- A group's column holds salt (16 bytes) ‖ canonical JSON: the preimage of its commitment, so that
-- erasing it is setting one column to null.
CREATE TABLE events (
  seq              bigint NOT NULL,
  source_offset    bigint NOT NULL,
  occurred_at      timestamptz NOT NULL,   -- the event's timestamp
  received_at      timestamptz NOT NULL,
  id               uuid NOT NULL,
  company_id       uuid NOT NULL,
  workspace_id     uuid NOT NULL,
  project_id       uuid,
  trace_id         uuid NOT NULL,          -- 32 hex digits are 16 bytes
  source_partition integer NOT NULL,
  source_index     integer NOT NULL,
  archive_day      date NOT NULL,
  prev_hash        bytea NOT NULL,
  hash             bytea NOT NULL,
  commitments      bytea NOT NULL,         -- actor, resource, context, metadata: 32 bytes each, zeros where absent
  category         text NOT NULL,
  action           text NOT NULL,
  outcome          text,
  tenant_id        text,
  actor            bytea,
  resource         bytea,
  context          bytea,
  metadata         bytea,
  actor_id         text,                   -- copied out of the groups for filters; erased with them
  actor_email      text,
  resource_type    text,
  resource_id      text,
  erased_at        timestamptz,
  PRIMARY KEY (workspace_id, seq)
);
-- A repeat can't be stored twice, whatever else goes wrong; and the range to announce after a crash.
CREATE UNIQUE INDEX events_source ON events (source_partition, source_offset, source_index);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_time ON events (workspace_id, occurred_at, seq);

-- What was accepted and can't be stored, with its reason and the original bytes (for the operator).
CREATE TABLE rejected (
  source_partition integer NOT NULL,
  source_offset    bigint NOT NULL,
  source_index     integer NOT NULL,       -- -1: the whole record could not be read
  id               uuid,
  company_id       uuid,
  workspace_id     uuid,
  reason           text NOT NULL,
  detail           text NOT NULL,
  received_at      timestamptz,
  rejected_at      timestamptz NOT NULL,
  original         bytea NOT NULL,
  PRIMARY KEY (source_partition, source_offset, source_index)
);
CREATE INDEX rejected_id ON rejected (id);
CREATE INDEX rejected_company ON rejected (company_id, rejected_at, id);

-- Decisions of the operator that change what the pipeline does (hyrelog unpark).
CREATE TABLE operator_decision (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  decided_at timestamptz NOT NULL DEFAULT now(),
  decided_by text NOT NULL,
  action     text NOT NULL,
  detail     jsonb NOT NULL
);

-- Append-only, twice: nobody is granted UPDATE or DELETE, and the trigger stops the owner's slips.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: the table is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER rejected_append_only BEFORE UPDATE OR DELETE ON rejected FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER rejected_no_truncate BEFORE TRUNCATE ON rejected FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER operator_decision_no_truncate BEFORE TRUNCATE ON operator_decision FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER operator_decision_append_only BEFORE UPDATE OR DELETE ON operator_decision FOR EACH ROW EXECUTE FUNCTION refuse_change();

GRANT USAGE ON SCHEMA public TO hyrelog_streams, hyrelog_ingest, hyrelog_api, hyrelog_auditor;
GRANT SELECT ON database_region TO hyrelog_streams, hyrelog_ingest, hyrelog_api, hyrelog_auditor;
GRANT SELECT, INSERT ON events, rejected TO hyrelog_streams;
GRANT SELECT, INSERT ON chain_head, source TO hyrelog_streams;
GRANT UPDATE (seq, hash, archive_day, updated_at) ON chain_head TO hyrelog_streams;
GRANT UPDATE (next_offset, announced, parked_reason, parked_at) ON source TO hyrelog_streams;
GRANT SELECT ON company, workspace, project, api_key, events, source TO hyrelog_ingest;
GRANT SELECT (id) ON rejected TO hyrelog_ingest;
GRANT SELECT ON company, workspace, project, api_key, events, rejected, chain_head, source TO hyrelog_api;
GRANT SELECT ON company, workspace, events, rejected, chain_head, source TO hyrelog_auditor;
