-- Restore requests (ops/docs/restore.md): a cold archive is fetched for some days once somebody asked for it and somebody else approved.

ALTER TABLE archive_part ADD UNIQUE (company_id, id);

CREATE TABLE restore_request (
  id               uuid PRIMARY KEY,
  company_id       uuid NOT NULL REFERENCES company (id),
  part_id          uuid NOT NULL,
  archive_key      text NOT NULL,              -- the part's object, as is …
  size             bigint NOT NULL CHECK (size >= 0),  -- … its size in bytes
  tier             text NOT NULL CHECK (tier IN ('EXPEDITED', 'STANDARD', 'BULK')),
  days             integer NOT NULL CHECK (days BETWEEN 1 AND 30),
  cost_usd         numeric(20, 6) NOT NULL CHECK (cost_usd >= 0),  -- the estimate, as it was told …
  prices_as_of     date NOT NULL,
  earliest_seconds integer NOT NULL CHECK (earliest_seconds > 0),
  latest_seconds   integer NOT NULL CHECK (latest_seconds >= earliest_seconds),
  state            text NOT NULL DEFAULT 'PENDING'
    CHECK (state IN ('PENDING', 'APPROVED', 'INITIATING', 'IN_PROGRESS', 'COMPLETED', 'EXPIRED', 'REJECTED', 'CANCELLED', 'FAILED')),
  reason           text CHECK (length(reason) BETWEEN 1 AND 500),  -- of rejecting, cancelling or failing
  requested_by     text NOT NULL,
  requested_email  text,
  requested_at     timestamptz NOT NULL,
  decided_by       text,                       -- who decided last: approved, rejected or cancelled; null: nobody did
  decided_email    text,
  decided_at       timestamptz,
  initiated_at     timestamptz,                -- the store is being asked
  checked_at       timestamptz,                -- when it was last asked how far it is
  completed_at     timestamptz,
  restored_until   timestamptz,
  expired_at       timestamptz,
  FOREIGN KEY (company_id, part_id) REFERENCES archive_part (company_id, id),
  CHECK ((decided_by IS NULL) = (decided_at IS NULL) AND (decided_email IS NULL OR decided_by IS NOT NULL)),
  CHECK (state = 'FAILED' OR (state = 'PENDING') = (decided_at IS NULL)),
  CHECK (state IN ('PENDING', 'REJECTED', 'CANCELLED') OR lower(btrim(decided_by)) IS DISTINCT FROM lower(btrim(requested_by))),  -- who asks may not approve
  CHECK (CASE state WHEN 'REJECTED' THEN reason IS NOT NULL WHEN 'FAILED' THEN reason IS NOT NULL WHEN 'CANCELLED' THEN true ELSE reason IS NULL END),
  CHECK (state = 'FAILED' OR (state IN ('INITIATING', 'IN_PROGRESS', 'COMPLETED', 'EXPIRED')) = (initiated_at IS NOT NULL)),
  CHECK (initiated_at IS NULL OR decided_at IS NOT NULL),
  CHECK ((state IN ('COMPLETED', 'EXPIRED')) = (completed_at IS NOT NULL) AND (completed_at IS NULL) = (restored_until IS NULL)),
  CHECK ((state = 'EXPIRED') = (expired_at IS NOT NULL))
) WITH (fillfactor = 70);
-- An archive is asked for once at a time.
CREATE UNIQUE INDEX restore_request_active ON restore_request (part_id)
  WHERE state IN ('PENDING', 'APPROVED', 'INITIATING', 'IN_PROGRESS', 'COMPLETED');
CREATE INDEX restore_request_company ON restore_request (company_id, id);
CREATE INDEX restore_request_state ON restore_request (state, id);

-- From which state to which (schemas/restore.py): no role, job or hand goes another way.
CREATE FUNCTION check_restore_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'PENDING' THEN
      RAISE EXCEPTION 'a restore request begins as PENDING, not %', NEW.state USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
  ELSIF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
    ('PENDING', 'APPROVED'), ('PENDING', 'REJECTED'), ('PENDING', 'CANCELLED'), ('PENDING', 'FAILED'),
    ('APPROVED', 'INITIATING'), ('APPROVED', 'CANCELLED'), ('APPROVED', 'FAILED'),
    ('INITIATING', 'IN_PROGRESS'), ('INITIATING', 'COMPLETED'), ('INITIATING', 'FAILED'),
    ('IN_PROGRESS', 'COMPLETED'), ('IN_PROGRESS', 'FAILED'),
    ('COMPLETED', 'EXPIRED')
  ) THEN
    RAISE EXCEPTION 'a restore request does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.state = OLD.state AND (NEW.decided_by, NEW.decided_email, NEW.decided_at, NEW.reason)
     IS DISTINCT FROM (OLD.decided_by, OLD.decided_email, OLD.decided_at, OLD.reason) THEN
    RAISE EXCEPTION 'a decision is made once' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER restore_request_transition BEFORE INSERT OR UPDATE ON restore_request
  FOR EACH ROW EXECUTE FUNCTION check_restore_transition();

-- Which requests a company has is for the whole company to see. It asks, and takes back what nobody has decided on: more its policies don't let through.
ALTER TABLE restore_request ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON restore_request FOR SELECT TO hyrelog_api
  USING (company_id = tenant_company() AND tenant_workspace() IS NULL);
CREATE POLICY tenant_asks ON restore_request FOR INSERT TO hyrelog_api
  WITH CHECK (company_id = tenant_company() AND tenant_workspace() IS NULL);
CREATE POLICY tenant_cancels ON restore_request FOR UPDATE TO hyrelog_api
  USING (company_id = tenant_company() AND tenant_workspace() IS NULL AND state = 'PENDING')
  WITH CHECK (company_id = tenant_company() AND tenant_workspace() IS NULL AND state = 'CANCELLED');
DO $$
BEGIN
  EXECUTE format('CREATE POLICY owner ON restore_request TO %I USING (true)', current_user);
END $$;
CREATE POLICY dashboard ON restore_request TO hyrelog_dashboard USING (true);
CREATE POLICY admin ON restore_request TO hyrelog_admin USING (true);
CREATE POLICY scheduler ON restore_request TO hyrelog_scheduler USING (true);

GRANT SELECT ON restore_request TO hyrelog_api, hyrelog_dashboard, hyrelog_admin, hyrelog_scheduler;
GRANT INSERT (id, company_id, part_id, archive_key, size, tier, days, cost_usd, prices_as_of, earliest_seconds, latest_seconds, requested_by,
              requested_email, requested_at) ON restore_request TO hyrelog_api;
GRANT UPDATE (state, reason, decided_by, decided_email, decided_at) ON restore_request TO hyrelog_api, hyrelog_dashboard, hyrelog_admin;
GRANT UPDATE (state, reason, initiated_at, checked_at, completed_at, restored_until, expired_at) ON restore_request TO hyrelog_scheduler;

-- Whoever approves looks again at what is asked for: plans change, and archives expire, while a request waits.
CREATE POLICY dashboard ON archive_part FOR SELECT TO hyrelog_dashboard USING (true);
CREATE POLICY admin ON archive_part FOR SELECT TO hyrelog_admin USING (true);
GRANT SELECT (id, company_id, expiring_at) ON archive_part TO hyrelog_dashboard, hyrelog_admin;
