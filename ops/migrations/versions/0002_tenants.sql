-- Many customers beside each other: plans, archived workspaces, what a key may do, the audit of management,
-- and the walls between tenants.
--
-- New group roles:
--   hyrelog_relay       reads the audit outbox and empties it; nothing else
--   hyrelog_admin       the operator's commands: tenants, plans, keys; the outbox
--   hyrelog_key_lookup  no login: owns find_key() and note_key_use(), the one way from a key's hash to its holder
--   hyrelog_rejection_view  no login: owns operator_rejections(), the one way to rejections of all companies
-- The chain writer's login needs the attribute BYPASSRLS: COPY FROM is not possible under row-level security.

DO $$
DECLARE role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['hyrelog_relay', 'hyrelog_admin', 'hyrelog_key_lookup', 'hyrelog_rejection_view'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
END $$;

-- What a plan allows; a company's overrides replace single members (schemas/plans.py names them all).
CREATE TABLE plan (
  name   text PRIMARY KEY,
  limits jsonb NOT NULL CHECK (jsonb_typeof(limits) = 'object')
);
INSERT INTO plan (name, limits) VALUES
('FREE', '{"hotDays": 7, "archiveDays": null, "coldAfterDays": null, "exportRows": 10000, "exportSources": ["HOT"],
           "webhooks": 0, "customCategories": false, "restoreTiers": [],
           "requestsPerMinute": 1200, "eventsPerMinute": 60000}'),
('STARTER', '{"hotDays": 30, "archiveDays": 180, "coldAfterDays": null, "exportRows": 250000,
           "exportSources": ["HOT", "ARCHIVED", "HOT_AND_ARCHIVED"], "webhooks": 0, "customCategories": true, "restoreTiers": [],
           "requestsPerMinute": 1200, "eventsPerMinute": 300000}'),
('GROWTH', '{"hotDays": 90, "archiveDays": 365, "coldAfterDays": 180, "exportRows": 1000000,
           "exportSources": ["HOT", "ARCHIVED", "HOT_AND_ARCHIVED"], "webhooks": 3, "customCategories": true,
           "restoreTiers": ["STANDARD", "BULK"], "requestsPerMinute": 1200, "eventsPerMinute": 600000}'),
('ENTERPRISE', '{"hotDays": 180, "archiveDays": 2555, "coldAfterDays": 365, "exportRows": null,
           "exportSources": ["HOT", "ARCHIVED", "HOT_AND_ARCHIVED"], "webhooks": 20, "customCategories": true,
           "restoreTiers": ["EXPEDITED", "STANDARD", "BULK"], "requestsPerMinute": 1200, "eventsPerMinute": 1200000}');

ALTER TABLE company DROP CONSTRAINT company_plan_check,
  ADD FOREIGN KEY (plan) REFERENCES plan (name),
  ADD COLUMN overrides jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overrides) = 'object'),
  ADD COLUMN is_operator boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX company_single_operator ON company (is_operator) WHERE is_operator;

ALTER TABLE workspace
  ADD COLUMN kind text NOT NULL DEFAULT 'STANDARD' CHECK (kind IN ('STANDARD', 'AUDIT')),
  ADD COLUMN archived_at timestamptz,
  ADD CHECK (kind = 'STANDARD' OR archived_at IS NULL),
  ADD UNIQUE (id, kind);
CREATE UNIQUE INDEX workspace_single_audit ON workspace (company_id) WHERE kind = 'AUDIT';
CREATE INDEX project_company ON project (company_id, workspace_id, id);

-- Every company has an audit workspace from its first moment.
CREATE FUNCTION make_audit_workspace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO workspace (id, company_id, name, kind) VALUES (uuidv7(), NEW.id, 'Audit', 'AUDIT');
  RETURN NEW;
END $$;
CREATE TRIGGER company_audit_workspace AFTER INSERT ON company FOR EACH ROW EXECUTE FUNCTION make_audit_workspace();
INSERT INTO workspace (id, company_id, name, kind) SELECT uuidv7(), id, 'Audit', 'AUDIT' FROM company;
-- The operator's own: where entries go that belong to no customer.
INSERT INTO company (id, name, plan, is_operator) VALUES (uuidv7(), 'Operator', 'ENTERPRISE', true);

-- A rotated key names its successor and lives on until expires_at, which the rotation sets to the overlap's end.
ALTER TABLE api_key
  ADD COLUMN ip_allowlist cidr[] NOT NULL DEFAULT '{}',   -- empty: from anywhere
  ADD COLUMN rotated_to uuid REFERENCES api_key (id),
  -- Only the relay's entries reach an AUDIT workspace: ingest takes workspace keys alone, and there can be none for it.
  ADD COLUMN workspace_kind text NOT NULL GENERATED ALWAYS AS ('STANDARD') STORED,
  ADD FOREIGN KEY (workspace_id, workspace_kind) REFERENCES workspace (id, kind);
CREATE INDEX api_key_company ON api_key (company_id, id);

-- When a key was last used: apart, so that a busy key does not rewrite its own row. Written in batches by note_key_use().
CREATE TABLE api_key_use (
  key_id       uuid PRIMARY KEY REFERENCES api_key (id),
  company_id   uuid NOT NULL,
  last_used_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Management operations of a company in the minute that began at minute_at: counted here, so that every replica counts the same.
CREATE TABLE management_use (
  company_id uuid PRIMARY KEY REFERENCES company (id),
  minute_at  timestamptz NOT NULL,
  operations integer NOT NULL
) WITH (fillfactor = 50);

-- Audit entries on their way into the pipeline: the envelope as it will stand in Kafka, made and committed with the action it tells of,
-- so that the relay may send it any number of times. A row goes when Kafka has acknowledged it.
CREATE TABLE audit_outbox (
  position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id     uuid NOT NULL UNIQUE,
  company_id   uuid NOT NULL,
  workspace_id uuid NOT NULL,
  record       bytea NOT NULL,
  made_at      timestamptz NOT NULL DEFAULT now(),
  workspace_kind text NOT NULL GENERATED ALWAYS AS ('AUDIT') STORED,  -- customers' chains take no entries
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id),
  FOREIGN KEY (workspace_id, workspace_kind) REFERENCES workspace (id, kind)
);

-- Who a transaction works for: set_config('hyrelog.company', …, true), and 'hyrelog.workspace' for a workspace key.
-- Unset, or set back at the transaction's end to the empty string: null, and null equals nothing.
CREATE FUNCTION tenant_company() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('hyrelog.company', true), '')::uuid;
CREATE FUNCTION tenant_workspace() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('hyrelog.workspace', true), '')::uuid;

-- From a key's hash to its holder and what that one's plan allows. The only way for services to read keys across tenants.
CREATE FUNCTION find_key(hashes bytea[]) RETURNS TABLE (
  id uuid, company_id uuid, workspace_id uuid, expires_at timestamptz, ip_allowlist cidr[], archived boolean, revoked boolean,
  limits jsonb
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT k.id, k.company_id, k.workspace_id, k.expires_at, k.ip_allowlist, w.archived_at IS NOT NULL, k.revoked_at IS NOT NULL,
    p.limits || c.overrides
  FROM api_key k
  JOIN company c ON c.id = k.company_id
  JOIN plan p ON p.name = c.plan
  LEFT JOIN workspace w ON w.id = k.workspace_id
  WHERE k.key_hash = ANY(hashes);
END;

CREATE FUNCTION note_key_use(ids uuid[], times timestamptz[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  INSERT INTO api_key_use AS u (key_id, company_id, last_used_at)
  SELECT k.id, k.company_id, max(n.used_at)
  FROM unnest(ids, times) AS n (id, used_at) JOIN api_key k ON k.id = n.id
  GROUP BY k.id, k.company_id ORDER BY k.id
  ON CONFLICT (key_id) DO UPDATE SET last_used_at = greatest(u.last_used_at, EXCLUDED.last_used_at);
END;

-- Where entries that concern no customer go.
CREATE FUNCTION operator_audit_workspace(OUT company_id uuid, OUT workspace_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT c.id, w.id FROM company c JOIN workspace w ON w.company_id = c.id AND w.kind = 'AUDIT' WHERE c.is_operator;
END;

-- A page of all companies' rejections behind a place, newest first (GET /internal/rejections).
CREATE FUNCTION operator_rejections(before timestamptz, before_partition integer, before_offset bigint, before_index integer, most integer)
  RETURNS SETOF rejected LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT * FROM rejected r
  WHERE (r.rejected_at, r.source_partition, r.source_offset, r.source_index) < (before, before_partition, before_offset, before_index)
  ORDER BY r.rejected_at DESC, r.source_partition DESC, r.source_offset DESC, r.source_index DESC
  LIMIT least(most, 1000);
END;

DO $$
DECLARE
  routine text;
  definer text;
  users text;
  owner text := current_user;
BEGIN
  FOR routine, definer, users IN VALUES
    ('find_key(bytea[])', 'hyrelog_key_lookup', 'hyrelog_ingest, hyrelog_api, hyrelog_admin'),
    ('note_key_use(uuid[], timestamptz[])', 'hyrelog_key_lookup', 'hyrelog_ingest, hyrelog_api, hyrelog_admin'),
    ('operator_audit_workspace()', 'hyrelog_key_lookup', 'hyrelog_ingest, hyrelog_api, hyrelog_admin'),
    ('operator_rejections(timestamptz, integer, bigint, integer, integer)', 'hyrelog_rejection_view', 'hyrelog_api')
  LOOP
    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', definer, current_user);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA public TO %I', definer);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', routine, users);
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', routine, definer);
    EXECUTE format('REVOKE CREATE ON SCHEMA public FROM %I', definer);
  END LOOP;
  -- hyrelog unpark works as the owner, who gave the function away. A grant is its new owner's to make.
  SET LOCAL ROLE hyrelog_key_lookup;
  EXECUTE format('GRANT EXECUTE ON FUNCTION operator_audit_workspace() TO %I', owner);
  EXECUTE format('SET LOCAL ROLE %I', owner);
END $$;
GRANT SELECT ON plan, company, workspace, api_key TO hyrelog_key_lookup;
GRANT SELECT, INSERT, UPDATE ON api_key_use TO hyrelog_key_lookup;
GRANT SELECT ON rejected TO hyrelog_rejection_view;

-- The walls. FORCE: the tables' owner is bound too. Tenants' requests (hyrelog_api) see what the transaction was told;
-- every other policy names a role that works across tenants, and the table it may do so on.
DO $$
DECLARE
  name text;
  tenants text[] := ARRAY['company', 'workspace', 'project', 'api_key', 'api_key_use', 'management_use', 'audit_outbox',
                          'chain_head', 'events', 'rejected'];
BEGIN
  FOREACH name IN ARRAY tenants LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner ON %I TO %I USING (true)', name, current_user);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['company', 'workspace', 'api_key', 'api_key_use'] LOOP
    EXECUTE format('CREATE POLICY key_lookup ON %I TO hyrelog_key_lookup USING (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['chain_head', 'events', 'rejected'] LOOP
    EXECUTE format('CREATE POLICY chain_writer ON %I TO hyrelog_streams USING (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['project', 'events', 'rejected'] LOOP
    EXECUTE format('CREATE POLICY ingest ON %I FOR SELECT TO hyrelog_ingest USING (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['company', 'workspace', 'chain_head', 'events', 'rejected'] LOOP
    EXECUTE format('CREATE POLICY auditor ON %I FOR SELECT TO hyrelog_auditor USING (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['company', 'workspace', 'project', 'api_key', 'api_key_use', 'audit_outbox'] LOOP
    EXECUTE format('CREATE POLICY admin ON %I TO hyrelog_admin USING (true)', name);
  END LOOP;
END $$;
CREATE POLICY relay ON audit_outbox TO hyrelog_relay USING (true);
CREATE POLICY operator ON rejected FOR SELECT TO hyrelog_rejection_view USING (true);

-- CASE and not OR: of an OR the planner expects one row in 200, and then sorts a whole workspace rather than reading its index in order.
CREATE POLICY tenant ON company TO hyrelog_api USING (id = tenant_company());
CREATE POLICY tenant ON workspace TO hyrelog_api
  USING (company_id = tenant_company() AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE id = tenant_workspace() END);
CREATE POLICY tenant ON project TO hyrelog_api
  USING (company_id = tenant_company() AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END);
-- A workspace key sees itself and its fellows, never the company's keys.
CREATE POLICY tenant ON api_key TO hyrelog_api
  USING (company_id = tenant_company() AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END);
CREATE POLICY tenant ON api_key_use TO hyrelog_api
  USING (company_id = tenant_company() AND (tenant_workspace() IS NULL OR EXISTS (SELECT FROM api_key k WHERE k.id = key_id)));
-- Management is a company key's.
CREATE POLICY tenant ON management_use TO hyrelog_api USING (company_id = tenant_company() AND tenant_workspace() IS NULL);
CREATE POLICY tenant ON chain_head TO hyrelog_api
  USING (company_id = tenant_company() AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END);
CREATE POLICY tenant ON events TO hyrelog_api
  USING (company_id = tenant_company() AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END);
CREATE POLICY tenant ON rejected TO hyrelog_api
  USING (company_id = tenant_company() AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END);
-- An entry of the caller's company, or one that concerns none.
CREATE POLICY tenant ON audit_outbox FOR INSERT TO hyrelog_api
  WITH CHECK (company_id = tenant_company() OR company_id = (SELECT o.company_id FROM operator_audit_workspace() o));

REVOKE SELECT ON company, workspace, api_key FROM hyrelog_ingest;
GRANT SELECT (company_id) ON rejected TO hyrelog_ingest;
REVOKE SELECT ON api_key FROM hyrelog_api;
GRANT SELECT (id, company_id, workspace_id, prefix, name, expires_at, revoked_at, created_at, ip_allowlist, rotated_to)
  ON api_key TO hyrelog_api;
GRANT INSERT ON api_key TO hyrelog_api;
GRANT UPDATE (expires_at, rotated_to) ON api_key TO hyrelog_api;
GRANT SELECT ON plan, api_key_use TO hyrelog_api;
GRANT SELECT, INSERT, UPDATE ON management_use TO hyrelog_api;
GRANT INSERT ON audit_outbox TO hyrelog_api, hyrelog_admin;
GRANT USAGE ON SCHEMA public TO hyrelog_relay, hyrelog_admin;
GRANT SELECT ON database_region TO hyrelog_relay, hyrelog_admin;
GRANT SELECT, DELETE ON audit_outbox TO hyrelog_relay;
GRANT SELECT ON plan, company, workspace, project, api_key_use TO hyrelog_admin;
GRANT SELECT (id, company_id, workspace_id, prefix, name, expires_at, revoked_at, created_at, ip_allowlist, rotated_to)
  ON api_key TO hyrelog_admin;
GRANT INSERT ON company, workspace, project, api_key TO hyrelog_admin;
GRANT UPDATE (plan, overrides) ON company TO hyrelog_admin;
GRANT UPDATE (archived_at) ON workspace TO hyrelog_admin;
GRANT UPDATE (revoked_at, ip_allowlist, expires_at, rotated_to) ON api_key TO hyrelog_admin;
