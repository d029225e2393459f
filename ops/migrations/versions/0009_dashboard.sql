-- The dashboard (ops/docs/dashboard.md): what a company's people and the operator's do about tenants over HTTP.
--
-- New group role:
--   hyrelog_dashboard  the operator's routes: tenants and plans of all companies, and the audit. Nobody logs in as it: the API takes it on
--                      for single transactions (SET LOCAL ROLE), so that no other statement of the API can do what it may.

DO $$
BEGIN
  CREATE ROLE hyrelog_dashboard NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT hyrelog_dashboard TO hyrelog_api WITH INHERIT FALSE, SET TRUE;

-- What a company's people do to what is the company's: under the policies `tenant`, as all that the API does.
GRANT UPDATE (revoked_at, ip_allowlist) ON api_key TO hyrelog_api;
GRANT INSERT (id, company_id, name, created_at) ON workspace TO hyrelog_api;
GRANT UPDATE (archived_at) ON workspace TO hyrelog_api;
GRANT INSERT (id, company_id, workspace_id, name, created_at) ON project TO hyrelog_api;
CREATE INDEX webhook_listed ON webhook (company_id, id) WHERE deleted_at IS NULL;

DO $$
DECLARE
  name text;
  owner text := current_user;
BEGIN
  FOREACH name IN ARRAY ARRAY['company', 'workspace', 'audit_outbox'] LOOP
    EXECUTE format('CREATE POLICY dashboard ON %I TO hyrelog_dashboard USING (true)', name);
  END LOOP;
  SET LOCAL ROLE hyrelog_key_lookup;
  GRANT EXECUTE ON FUNCTION operator_audit_workspace() TO hyrelog_dashboard;
  EXECUTE format('SET LOCAL ROLE %I', owner);
END $$;
-- A smaller plan disables the webhooks that it has no room for; nothing here enables one.
CREATE POLICY dashboard ON webhook TO hyrelog_dashboard USING (true) WITH CHECK (NOT enabled);
-- Of events it sees the audit alone. One row of workspace a row of events, by its primary key.
CREATE POLICY dashboard ON events FOR SELECT TO hyrelog_dashboard
  USING (EXISTS (SELECT FROM workspace w WHERE w.id = events.workspace_id AND w.kind = 'AUDIT'));

GRANT USAGE ON SCHEMA public TO hyrelog_dashboard;
GRANT SELECT ON database_region, plan, company, workspace, events TO hyrelog_dashboard;
GRANT INSERT ON company, audit_outbox TO hyrelog_dashboard;
GRANT UPDATE (plan, overrides) ON company TO hyrelog_dashboard;
GRANT SELECT (id, company_id, enabled, created_at, deleted_at) ON webhook TO hyrelog_dashboard;
GRANT UPDATE (enabled, disabled_reason, disabled_at, updated_at) ON webhook TO hyrelog_dashboard;

-- What follows from a change of a company follows whoever makes it, and nobody needs the rights to do it by hand: which retention held when
-- is what purging goes by.
ALTER FUNCTION make_audit_workspace() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION note_company_retention() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp;
ALTER FUNCTION note_plan_retention() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp;
REVOKE ALL ON FUNCTION make_audit_workspace(), note_company_retention(), note_plan_retention() FROM PUBLIC;
REVOKE INSERT ON company_retention FROM hyrelog_admin;
REVOKE UPDATE (hot_days, archive_days, cold_after_days) ON company_retention FROM hyrelog_admin;

-- A key that was revoked stays so, whoever may write the column.
CREATE FUNCTION refuse_revival() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a revoked key stays revoked' USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;
CREATE TRIGGER api_key_stays_revoked BEFORE UPDATE OF revoked_at ON api_key FOR EACH ROW
  WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at) EXECUTE FUNCTION refuse_revival();

-- The newest entries of all companies' audits are read in this order: every entry is of this category (schemas/audit.py), and next to nothing else.
-- Building it keeps the chain writer waiting; where events are many already, make it beforehand by CREATE INDEX CONCURRENTLY.
CREATE INDEX IF NOT EXISTS events_audit ON events (occurred_at DESC, id DESC) WHERE category = 'admin';
