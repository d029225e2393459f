-- Exports (ops/docs/exports.md): what was asked for, which events belong to it, and how its download ended. Nothing of what is
-- exported is kept: it is read anew each time.

CREATE TABLE export_job (
  id             uuid PRIMARY KEY,
  company_id     uuid NOT NULL REFERENCES company (id),
  workspace_id   uuid,                       -- of a workspace's key; null: of a company's
  source         text NOT NULL CHECK (source IN ('HOT', 'ARCHIVED', 'HOT_AND_ARCHIVED')),
  format         text NOT NULL CHECK (format IN ('JSONL', 'CSV', 'PARQUET')),
  filters        text NOT NULL,              -- JSON, as asked
  from_at        timestamptz,
  to_at          timestamptz,
  row_limit      bigint CHECK (row_limit > 0),  -- as asked …
  most_rows      bigint CHECK (most_rows > 0),  -- … and as the plan then allowed; null: any number
  csv_raw        boolean NOT NULL,
  verification   boolean NOT NULL,
  state          text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELED')),
  reason         text,                       -- why it failed or was cancelled
  rows           bigint NOT NULL DEFAULT 0,  -- of the last download that counts
  truncated      boolean NOT NULL DEFAULT false,
  bytes          bigint,
  sha256         bytea CHECK (length(sha256) = 32),
  workspaces     text,                       -- JSON: the manifest's part by workspace
  run            uuid,                       -- the download under way; whoever finds another one here stops
  heartbeat_at   timestamptz,                -- when that one was last alive
  created_at     timestamptz NOT NULL,
  started_at     timestamptz,
  finished_at    timestamptz,
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id),
  CHECK (run IS NULL OR heartbeat_at IS NOT NULL),
  CHECK ((state = 'SUCCEEDED') = (sha256 IS NOT NULL)),
  CHECK ((sha256 IS NULL) = (workspaces IS NULL) AND (sha256 IS NULL) = (bytes IS NULL))
) WITH (fillfactor = 50);
CREATE INDEX export_job_company ON export_job (company_id, id);
CREATE INDEX export_job_workspace ON export_job (workspace_id, id) WHERE workspace_id IS NOT NULL;
CREATE INDEX export_job_under_way ON export_job (company_id) WHERE run IS NOT NULL;  -- no column of it changes with a heartbeat

-- Which events belong to an export, of those that pass its filters: fixed when it is made.
CREATE TABLE export_scope (
  export_id    uuid NOT NULL REFERENCES export_job (id),
  company_id   uuid NOT NULL,
  workspace_id uuid NOT NULL,
  from_seq     bigint NOT NULL CHECK (from_seq > 0),
  to_seq       bigint NOT NULL CHECK (to_seq >= from_seq),
  PRIMARY KEY (export_id, workspace_id, from_seq),
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id)
);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['export_job', 'export_scope'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner ON %I TO %I USING (true)', name, current_user);
    EXECUTE format('CREATE POLICY tenant ON %I TO hyrelog_api USING (company_id = tenant_company()'
      ' AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END)', name);
  END LOOP;
END $$;

GRANT SELECT, INSERT ON export_job, export_scope TO hyrelog_api;
GRANT UPDATE (state, reason, rows, truncated, bytes, sha256, workspaces, run, heartbeat_at, started_at, finished_at) ON export_job TO hyrelog_api;
