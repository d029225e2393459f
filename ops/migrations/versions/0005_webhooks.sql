-- Webhooks: endpoints of customers, what is due to them, and every attempt (ops/docs/webhooks.md).
--
-- New group role:
--   hyrelog_webhooks  the webhook sink and its dispatchers: finds who is to be told, claims what is due, records attempts

DO $$
BEGIN
  CREATE ROLE hyrelog_webhooks NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- An endpoint. Secrets are sealed for its id (ops/sealing.py), the first four bytes name the key.
CREATE TABLE webhook (
  id              uuid PRIMARY KEY,
  company_id      uuid NOT NULL,
  workspace_id    uuid NOT NULL,
  project_id      uuid,                    -- null: all of the workspace
  url             text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 2048),
  events          text[] NOT NULL CHECK (cardinality(events) > 0),
  filters         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(filters) = 'object'),  -- {"category": [...], "action": [...]}
  description     text CHECK (length(description) <= 500),
  enabled         boolean NOT NULL DEFAULT true,
  disabled_reason text CHECK (disabled_reason IN ('MANUAL', 'GONE', 'FAILING', 'PLAN')),
  disabled_at     timestamptz,
  from_seq        bigint NOT NULL CHECK (from_seq > 0),  -- the first event it is told of: behind the chain's end when it was last enabled
  secret          bytea NOT NULL,
  previous_secret bytea,
  previous_until  timestamptz,             -- the overlap's end
  failing_since   timestamptz,             -- the first failure after the last success
  created_at      timestamptz NOT NULL DEFAULT now(),
  updated_at      timestamptz NOT NULL DEFAULT now(),
  deleted_at      timestamptz,
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id),
  FOREIGN KEY (workspace_id, project_id) REFERENCES project (workspace_id, id),
  CHECK (enabled = (disabled_reason IS NULL) AND enabled = (disabled_at IS NULL)),
  CHECK (deleted_at IS NULL OR NOT enabled),
  CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX webhook_workspace ON webhook (workspace_id, id) WHERE deleted_at IS NULL;
CREATE INDEX webhook_company ON webhook (company_id) WHERE enabled;

-- How far the sink is with each workspace that ever had an endpoint; made with the first one. What has no row here has nobody to tell.
CREATE TABLE webhook_head (
  workspace_id uuid PRIMARY KEY,
  company_id   uuid NOT NULL,
  seq          bigint NOT NULL CHECK (seq >= 0),
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id)
) WITH (fillfactor = 50);

-- What is to be sent, and nothing else: a row goes when its delivery has ended, so that the table stays as small as what is under way.
-- A claim moves due_at to the end of its lease: whoever dies with it, the row falls due again.
CREATE TABLE webhook_due (
  webhook_id   uuid NOT NULL,              -- no foreign key: endpoints are never removed, and looking each up would be the dearest part of a row
  id           uuid NOT NULL,              -- the delivery's: the same for an endpoint and event whenever it is sent (schemas/webhooks.py)
  company_id   uuid NOT NULL,
  workspace_id uuid NOT NULL,
  seq          bigint,                     -- null: a test, which tells of no event
  event_id     uuid,
  kind         text NOT NULL CHECK (kind IN ('EVENT', 'REPLAY', 'TEST')),
  due_at       timestamptz NOT NULL,
  claimed      boolean NOT NULL DEFAULT false,
  attempt      smallint NOT NULL DEFAULT 1,  -- the number of the attempt that is next, or under way while claimed
  failures     smallint NOT NULL DEFAULT 0,  -- how many ended in failure: those that a dispatcher's death cut off do not count
  PRIMARY KEY (webhook_id, id),
  CHECK ((seq IS NULL) = (kind = 'TEST') AND (event_id IS NULL) = (kind = 'TEST'))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX webhook_due_next ON webhook_due (webhook_id, due_at);
-- Rows of nobody's that are never due. Vacuum mostly finds the table all but empty, and PostgreSQL then plans as if it always were: with
-- 100,000 rows a claim read them all again and again, 3 s instead of 2 ms. With these it takes the pages to hold something.
INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, kind, due_at)
SELECT nobody, lpad(n::text, 32, '0')::uuid, nobody, nobody, 'TEST', '9999-01-01T00:00:00Z'
FROM generate_series(1, 1000) AS n, (VALUES ('00000000-0000-0000-0000-000000000000'::uuid)) AS nil (nobody);

-- Every attempt, append-only, a partition a day (webhook_days() makes and drops them).
CREATE TABLE webhook_attempt (
  webhook_id      uuid NOT NULL,
  delivery_id     uuid NOT NULL,
  company_id      uuid NOT NULL,
  workspace_id    uuid NOT NULL,
  seq             bigint,
  event_id        uuid,
  kind            text NOT NULL,
  attempt         smallint NOT NULL,
  attempted_at    timestamptz NOT NULL,
  duration_ms     integer,                 -- null: it was not sent, or nobody knows
  state           text NOT NULL CHECK (state IN ('SUCCEEDED', 'RETRYING', 'FAILED')),  -- of the delivery, after this attempt
  response_status smallint,
  error           text,                    -- a code (schemas/webhooks.py); null: an answer came
  body_hash       bytea,
  next_attempt_at timestamptz
) PARTITION BY RANGE (attempted_at);
CREATE INDEX webhook_attempt_delivery ON webhook_attempt (webhook_id, delivery_id, attempted_at);
-- The rare ones that people look for.
CREATE INDEX webhook_attempt_failed ON webhook_attempt (webhook_id, delivery_id) WHERE state = 'FAILED';

-- Events that are to be sent again, put into webhook_due page by page; one at a time an endpoint.
CREATE TABLE webhook_replay (
  id           uuid PRIMARY KEY,
  webhook_id   uuid NOT NULL REFERENCES webhook (id),
  company_id   uuid NOT NULL,
  workspace_id uuid NOT NULL,
  from_at      timestamptz,                -- events by their timestamp, from (inclusive) to (exclusive) …
  to_at        timestamptz,
  from_seq     bigint,                     -- … or by seq, both inclusive …
  to_seq       bigint,
  event_ids    uuid[],                     -- … or these
  state        text NOT NULL DEFAULT 'RUNNING' CHECK (state IN ('RUNNING', 'DONE', 'CANCELLED')),
  events       bigint NOT NULL DEFAULT 0,  -- put into webhook_due so far
  after_at     timestamptz,                -- where to go on: behind this place
  after_seq    bigint NOT NULL DEFAULT 0,
  created_at   timestamptz NOT NULL DEFAULT now(),
  finished_at  timestamptz,
  CHECK (num_nonnulls(from_at, from_seq, event_ids) = 1),
  CHECK ((from_at IS NULL) = (to_at IS NULL) AND (from_seq IS NULL) = (to_seq IS NULL)),
  CHECK ((state = 'RUNNING') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX webhook_replay_running ON webhook_replay (webhook_id) WHERE state = 'RUNNING';
CREATE INDEX webhook_replay_latest ON webhook_replay (webhook_id, created_at);

-- The sink's own, as every sink has them (0004_search.sql).
CREATE TABLE webhook_position (
  topic       text NOT NULL,
  partition   integer NOT NULL CHECK (partition >= 0),
  topic_id    uuid NOT NULL,
  next_offset bigint NOT NULL,
  refill_from uuid,
  PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE webhook_dead (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  died_at       timestamptz NOT NULL DEFAULT now(),
  topic         text NOT NULL,
  partition     integer NOT NULL,
  record_offset bigint,
  workspace_id  uuid,
  seq           bigint,
  reason        text NOT NULL
);
CREATE UNIQUE INDEX webhook_dead_event ON webhook_dead (workspace_id, seq);

-- The partitions of webhook_attempt: makes those of today and of three days to come, drops those older than so many days. The only
-- way for a service to change a table. ATTACH, since CREATE … PARTITION OF would wait for every reader. Dropping must: it is left to
-- the next call where it would keep others waiting, who queue up behind whoever wants the table for himself.
CREATE FUNCTION webhook_days(keep integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
  day date;
  name text;
BEGIN
  IF keep < 1 THEN
    RAISE EXCEPTION 'attempts are kept for a day at least' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('webhook_days'));
  FOR day IN SELECT (now() AT TIME ZONE 'UTC')::date + n FROM generate_series(0, 3) AS n LOOP
    name := 'webhook_attempt_' || to_char(day, 'YYYYMMDD');
    CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.webhook_attempt INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);  -- reached by its parent alone
    EXECUTE format('ALTER TABLE public.webhook_attempt ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
  END LOOP;
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.webhook_attempt'::regclass
      AND c.relname < 'webhook_attempt_' || to_char((now() AT TIME ZONE 'UTC')::date - keep, 'YYYYMMDD')
  LOOP
    BEGIN
      PERFORM set_config('lock_timeout', '100ms', true);
      EXECUTE format('DROP TABLE public.%I', name);
    EXCEPTION WHEN lock_not_available THEN
      RAISE LOG 'partition % is in use and stays for now', name;
    END;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION webhook_days(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhook_days(integer) TO hyrelog_webhooks;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['webhook', 'webhook_head', 'webhook_due', 'webhook_attempt', 'webhook_replay', 'webhook_dead'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner ON %I TO %I USING (true)', name, current_user);
    EXECUTE format('CREATE POLICY webhooks ON %I TO hyrelog_webhooks USING (true)', name);
  END LOOP;
  -- Webhooks are a company key's to manage.
  FOREACH name IN ARRAY ARRAY['webhook', 'webhook_head', 'webhook_due', 'webhook_attempt', 'webhook_replay'] LOOP
    EXECUTE format('CREATE POLICY tenant ON %I TO hyrelog_api USING (company_id = tenant_company() AND tenant_workspace() IS NULL)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['events', 'chain_head', 'workspace'] LOOP
    EXECUTE format('CREATE POLICY webhooks ON %I FOR SELECT TO hyrelog_webhooks USING (true)', name);
  END LOOP;
END $$;
CREATE POLICY admin ON webhook TO hyrelog_admin USING (true);
CREATE POLICY webhooks ON audit_outbox FOR INSERT TO hyrelog_webhooks WITH CHECK (true);

GRANT USAGE ON SCHEMA public TO hyrelog_webhooks;
GRANT SELECT ON database_region, events, webhook, webhook_replay TO hyrelog_webhooks;
GRANT SELECT (workspace_id, seq) ON chain_head TO hyrelog_webhooks;
GRANT SELECT (company_id, id, kind) ON workspace TO hyrelog_webhooks;
GRANT UPDATE (enabled, disabled_reason, disabled_at, failing_since, updated_at) ON webhook TO hyrelog_webhooks;
GRANT SELECT ON webhook_head TO hyrelog_webhooks;
GRANT UPDATE (seq) ON webhook_head TO hyrelog_webhooks;
GRANT SELECT, INSERT, DELETE ON webhook_due TO hyrelog_webhooks;
GRANT UPDATE (kind, due_at, claimed, attempt, failures) ON webhook_due TO hyrelog_webhooks;
GRANT INSERT ON webhook_attempt, webhook_dead, audit_outbox TO hyrelog_webhooks;
GRANT UPDATE (state, events, after_at, after_seq, finished_at) ON webhook_replay TO hyrelog_webhooks;
GRANT SELECT, INSERT ON webhook_position TO hyrelog_webhooks;
GRANT UPDATE (topic_id, next_offset, refill_from) ON webhook_position TO hyrelog_webhooks;

GRANT SELECT, INSERT ON webhook TO hyrelog_api;
GRANT UPDATE (url, events, filters, description, enabled, disabled_reason, disabled_at, from_seq, secret, previous_secret, previous_until,
              failing_since, updated_at, deleted_at) ON webhook TO hyrelog_api;
GRANT INSERT ON webhook_head TO hyrelog_api;
GRANT SELECT, INSERT ON webhook_due TO hyrelog_api;
GRANT SELECT ON webhook_attempt TO hyrelog_api;
GRANT SELECT, INSERT ON webhook_replay TO hyrelog_api;
GRANT UPDATE (state, finished_at) ON webhook_replay TO hyrelog_api;

GRANT SELECT (id, company_id, workspace_id, enabled, created_at, deleted_at, secret, previous_secret) ON webhook TO hyrelog_admin;
GRANT UPDATE (enabled, disabled_reason, disabled_at, updated_at, secret, previous_secret) ON webhook TO hyrelog_admin;
