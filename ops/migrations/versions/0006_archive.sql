-- Retention and the archive (ops/docs/archive.md): which plan held when, what is archived where, and the one way to remove events.
--
-- New group roles:
--   hyrelog_scheduler  the jobs: marks, verifies, asks for purging, expires
--   hyrelog_archiver   the archive sink: reads marked events, records what it wrote
--   hyrelog_purger     no login: owns purge_events() and expire_part(), the one way by which events and aliases are removed

DO $$
DECLARE role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['hyrelog_scheduler', 'hyrelog_archiver', 'hyrelog_purger'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
END $$;

-- What retention a company's events were received under: each row holds from its time to the next one's.
CREATE TABLE company_retention (
  company_id      uuid NOT NULL REFERENCES company (id),
  since           timestamptz NOT NULL,
  hot_days        integer NOT NULL CHECK (hot_days > 0),
  archive_days    integer CHECK (archive_days > 0),     -- null: no archive
  cold_after_days integer CHECK (cold_after_days > 0),  -- null: never
  PRIMARY KEY (company_id, since)
);

-- Kept by the database itself, so that no way of changing a plan can forget it.
CREATE FUNCTION note_retention(whose uuid) RETURNS void LANGUAGE sql AS $$
  INSERT INTO company_retention (company_id, since, hot_days, archive_days, cold_after_days)
  SELECT c.id, CASE WHEN last.since IS NULL THEN least(c.created_at, now()) ELSE greatest(clock_timestamp(), last.since) END, held.hot, held.archive, held.cold
  FROM company c JOIN plan p ON p.name = c.plan
  CROSS JOIN LATERAL (SELECT p.limits || c.overrides AS limits) l
  CROSS JOIN LATERAL (
    SELECT (l.limits ->> 'hotDays')::integer AS hot, (l.limits ->> 'archiveDays')::integer AS archive,
           (l.limits ->> 'coldAfterDays')::integer AS cold
  ) held
  LEFT JOIN LATERAL (SELECT * FROM company_retention r WHERE r.company_id = c.id ORDER BY since DESC LIMIT 1) last ON true
  WHERE c.id = whose
    AND (last.hot_days, last.archive_days, last.cold_after_days) IS DISTINCT FROM (held.hot, held.archive, held.cold)
  ON CONFLICT (company_id, since) DO UPDATE SET hot_days = excluded.hot_days, archive_days = excluded.archive_days,
    cold_after_days = excluded.cold_after_days
$$;
CREATE FUNCTION note_company_retention() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM note_retention(NEW.id);
  RETURN NULL;
END $$;
CREATE FUNCTION note_plan_retention() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM note_retention(c.id) FROM company c WHERE c.plan = NEW.name;
  RETURN NULL;
END $$;
CREATE TRIGGER company_retention AFTER INSERT OR UPDATE OF plan, overrides ON company FOR EACH ROW EXECUTE FUNCTION note_company_retention();
CREATE TRIGGER plan_retention AFTER UPDATE OF limits ON plan FOR EACH ROW EXECUTE FUNCTION note_plan_retention();
SELECT note_retention(id) FROM company;

-- A company's data key, under which the salts of its archives are encrypted; sealed for the company's id (ops/sealing.py) under ARCHIVE_KEY.
CREATE TABLE company_data_key (
  company_id uuid PRIMARY KEY REFERENCES company (id),
  wrapped    bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- One object of events and one of their salts. Made when it is marked, filled in when it is archived, never removed.
CREATE TABLE archive_part (
  id                 uuid PRIMARY KEY,
  company_id         uuid NOT NULL REFERENCES company (id),
  archive_day        date NOT NULL,
  part               integer NOT NULL CHECK (part > 0),
  row_count          bigint NOT NULL CHECK (row_count > 0),
  archive_until      timestamptz NOT NULL,   -- from then on it may be removed
  cold_after_days    integer,                -- of its age as an object; null: it stays warm
  marked_at          timestamptz NOT NULL,
  sent_at            timestamptz,            -- when it was last put on the archive topic
  archived_at        timestamptz,
  key                text UNIQUE,
  sha256             bytea,                  -- of the object as it is stored …
  content_sha256     bytea,                  -- … and of what it unzips to
  size               bigint,
  keys_size          bigint,
  blocks             bytea,                  -- where to find an event in both objects (schemas/archive.py)
  occurred_from      timestamptz,            -- the events' earliest and latest timestamp …
  occurred_to        timestamptz,
  received_from      timestamptz,            -- … and receipt, all inclusive
  received_to        timestamptz,
  archive_error      text,                   -- why it could not be archived, until it is
  verified_at        timestamptz,
  verification_error text,
  checked_at         timestamptz,            -- when it was last looked at, whatever was found
  is_cold_archived   boolean NOT NULL DEFAULT false,
  cold_archive_key   text,
  restored_until     timestamptz,
  expiring_at        timestamptz,            -- nobody begins to read it any more
  expired_at         timestamptz,
  UNIQUE (company_id, archive_day, part),
  CHECK (num_nulls(archived_at, key, sha256, content_sha256, size, keys_size, blocks, occurred_from, occurred_to, received_from, received_to)
         IN (0, 11)),
  CHECK (verified_at IS NULL OR archived_at IS NOT NULL),
  CHECK (expiring_at IS NULL OR archived_at IS NOT NULL),
  CHECK (expired_at IS NULL OR expiring_at IS NOT NULL),
  CHECK (is_cold_archived = (cold_archive_key IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX archive_part_to_archive ON archive_part (id) WHERE archived_at IS NULL;
CREATE INDEX archive_part_to_verify ON archive_part (id) WHERE archived_at IS NOT NULL AND verified_at IS NULL;
CREATE INDEX archive_part_to_expire ON archive_part (archive_until) WHERE archived_at IS NOT NULL AND expired_at IS NULL;
CREATE INDEX archive_part_company ON archive_part (company_id, received_from) WHERE archived_at IS NOT NULL;

-- A run of one workspace's events that left or leave the hot table together. Ranges tile: each begins where another one ended, and no two
-- begin alike, so every seq up to the last range's end is in exactly one.
CREATE TABLE archive_range (
  workspace_id    uuid NOT NULL,
  from_seq        bigint NOT NULL CHECK (from_seq > 0),
  to_seq          bigint NOT NULL CHECK (to_seq >= from_seq),
  after_seq       bigint GENERATED ALWAYS AS (nullif(from_seq - 1, 0)) STORED,
  company_id      uuid NOT NULL,
  part_id         uuid REFERENCES archive_part (id),  -- null: its plan has no archive
  archive_day     date NOT NULL,
  first_prev_hash bytea NOT NULL CHECK (length(first_prev_hash) = 32),
  first_hash      bytea NOT NULL CHECK (length(first_hash) = 32),
  last_hash       bytea NOT NULL CHECK (length(last_hash) = 32),
  hot_until       timestamptz NOT NULL,   -- the hot retention of its last event is over
  marked_at       timestamptz NOT NULL,
  tiled_at        timestamptz,            -- its hashes are in tiles
  purging_at      timestamptz,            -- its purge record is written, its rows are being removed
  purged_at       timestamptz,
  PRIMARY KEY (workspace_id, from_seq),
  UNIQUE (workspace_id, to_seq),
  FOREIGN KEY (workspace_id, after_seq) REFERENCES archive_range (workspace_id, to_seq),
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id),
  CHECK (purging_at IS NULL OR tiled_at IS NOT NULL),
  CHECK (purged_at IS NULL OR purging_at IS NOT NULL)
) WITH (fillfactor = 80);
CREATE INDEX archive_range_part ON archive_range (part_id, workspace_id, from_seq);
CREATE INDEX archive_range_to_purge ON archive_range (workspace_id, from_seq) WHERE purged_at IS NULL;

-- The last event of a workspace that was removed: what is left of its chain begins behind it. Moves with each batch.
CREATE TABLE chain_floor (
  workspace_id uuid PRIMARY KEY,
  company_id   uuid NOT NULL,
  seq          bigint NOT NULL CHECK (seq > 0),
  hash         bytea NOT NULL CHECK (length(hash) = 32),
  archive_day  date NOT NULL,
  received_at  timestamptz NOT NULL,      -- the latest receipt of all that was removed
  FOREIGN KEY (company_id, workspace_id) REFERENCES workspace (company_id, id)
) WITH (fillfactor = 50);

-- What is removed with an event is found by its place.
CREATE INDEX event_key_place ON event_key (workspace_id, seq);
CREATE INDEX event_alias_place ON event_alias (workspace_id, seq);

-- Append-only still: UPDATE for nobody, DELETE for the purger alone, which has no login and owns two functions.
DROP TRIGGER events_append_only ON events;
DROP TRIGGER event_key_append_only ON event_key;
DROP TRIGGER event_alias_append_only ON event_alias;
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['events', 'event_key', 'event_alias'] LOOP
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_change()', name || '_append_only', name);
    EXECUTE format('CREATE TRIGGER %I BEFORE DELETE ON %I FOR EACH ROW WHEN (current_user <> ''hyrelog_purger'') EXECUTE FUNCTION refuse_change()',
      name || '_no_delete', name);
  END LOOP;
END $$;

-- Remove up to so many events of a workspace, the oldest ones, out of the range that begins at `first`, with what is found by them. Returns
-- how many; or, with 0, what has to come first. Refuses whatever is not announced, not in tiles, or not verified in the archive; and whatever is
-- still to be kept by this server's own clock, but in a demo: a scheduler whose clock is wrong must not be believed.
CREATE FUNCTION purge_events(whose uuid, first bigint, most integer, OUT removed bigint, OUT waits_for text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
  range archive_range;
  edge bigint;
  place events;
  latest timestamptz;
  done bigint;
BEGIN
  removed := 0;
  SELECT * INTO range FROM archive_range r WHERE r.workspace_id = whose AND r.from_seq = first FOR UPDATE;
  IF range.purging_at IS NULL OR range.purged_at IS NOT NULL THEN
    RAISE EXCEPTION 'the range is not to be purged' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF range.hot_until > now() AND NOT (SELECT d.is_demo FROM database_region d) THEN
    RAISE EXCEPTION 'its hot retention is not over' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF range.part_id IS NOT NULL AND NOT EXISTS (SELECT FROM archive_part p WHERE p.id = range.part_id AND p.verified_at IS NOT NULL) THEN
    RAISE EXCEPTION 'its archive is not verified' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  done := coalesce((SELECT f.seq FROM chain_floor f WHERE f.workspace_id = whose), 0);
  IF done < range.from_seq - 1 OR done >= range.to_seq THEN
    RAISE EXCEPTION 'ranges are purged in their order' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  edge := least(done + most, range.to_seq);
  SELECT * INTO place FROM events e WHERE e.workspace_id = whose AND e.seq = edge;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the events are not there' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF NOT EXISTS (
    SELECT FROM source s, database_region d
    WHERE s.topic = 'hyrelog.' || lower(d.region) || '.ingest' AND s.partition = place.source_partition AND s.announced > place.source_offset
  ) THEN
    waits_for := 'ANNOUNCEMENT';
  ELSIF edge > greatest(
    (SELECT max(s.seq) FROM search s WHERE s.workspace_id = whose), (SELECT max(s.seq) FROM search_dead s WHERE s.workspace_id = whose), 0
  ) THEN
    waits_for := 'SEARCH';  -- a row that came there later would end lists where it stands
  ELSIF EXISTS (SELECT FROM webhook_head h WHERE h.workspace_id = whose AND h.seq < edge) THEN
    waits_for := 'WEBHOOKS';
  END IF;
  IF waits_for IS NOT NULL THEN
    RETURN;
  END IF;
  DELETE FROM search s WHERE s.workspace_id = whose AND s.seq > done AND s.seq <= edge;
  DELETE FROM event_key k WHERE k.workspace_id = whose AND k.seq > done AND k.seq <= edge;
  IF range.part_id IS NULL OR EXISTS (SELECT FROM archive_part p WHERE p.id = range.part_id AND p.expired_at IS NOT NULL) THEN
    DELETE FROM event_alias a WHERE a.workspace_id = whose AND a.seq > done AND a.seq <= edge;
  END IF;
  WITH gone AS (
    DELETE FROM events e WHERE e.workspace_id = whose AND e.seq > done AND e.seq <= edge RETURNING e.received_at
  ) SELECT count(*), max(received_at) INTO removed, latest FROM gone;
  IF removed <> edge - done THEN
    RAISE EXCEPTION 'events are missing' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  INSERT INTO chain_floor AS f (workspace_id, company_id, seq, hash, archive_day, received_at)
  VALUES (whose, range.company_id, edge, place.hash, place.archive_day, latest)
  ON CONFLICT (workspace_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, archive_day = excluded.archive_day,
    received_at = greatest(f.received_at, excluded.received_at);
  IF edge = range.to_seq THEN
    UPDATE archive_range r SET purged_at = now() WHERE r.workspace_id = whose AND r.from_seq = first;
  END IF;
END $$;

-- A part whose objects have been removed: ids that led into it lead nowhere.
CREATE FUNCTION expire_part(which uuid, at timestamptz) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  UPDATE archive_part p SET expired_at = at WHERE p.id = which AND p.expiring_at IS NOT NULL AND p.expired_at IS NULL;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  DELETE FROM event_alias a USING archive_range r
  WHERE r.part_id = which AND r.purged_at IS NOT NULL AND a.workspace_id = r.workspace_id AND a.seq BETWEEN r.from_seq AND r.to_seq;
END $$;

DO $$
DECLARE
  name text;
  routine text;
  owner text := current_user;
BEGIN
  EXECUTE format('GRANT hyrelog_purger TO %I WITH INHERIT FALSE, SET TRUE', owner);
  GRANT USAGE, CREATE ON SCHEMA public TO hyrelog_purger;
  FOREACH routine IN ARRAY ARRAY['purge_events(uuid, bigint, integer)', 'expire_part(uuid, timestamptz)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hyrelog_scheduler', routine);
    EXECUTE format('ALTER FUNCTION %s OWNER TO hyrelog_purger', routine);
  END LOOP;
  REVOKE CREATE ON SCHEMA public FROM hyrelog_purger;

  FOREACH name IN ARRAY ARRAY['company_retention', 'company_data_key', 'archive_part', 'archive_range', 'chain_floor'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner ON %I TO %I USING (true)', name, owner);
    EXECUTE format('CREATE POLICY scheduler ON %I TO hyrelog_scheduler USING (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['company', 'workspace', 'chain_head', 'events'] LOOP
    EXECUTE format('CREATE POLICY scheduler ON %I FOR SELECT TO hyrelog_scheduler USING (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['company_data_key', 'archive_part', 'archive_range'] LOOP
    EXECUTE format('CREATE POLICY archiver ON %I TO hyrelog_archiver USING (true)', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['archive_part', 'archive_range', 'chain_floor', 'events', 'event_key', 'event_alias', 'search', 'search_dead', 'webhook_head'] LOOP
    EXECUTE format('CREATE POLICY purger ON %I TO hyrelog_purger USING (true)', name);
  END LOOP;
  -- A part holds several workspaces of one company: of a workspace key, the API shows its own alone.
  FOREACH name IN ARRAY ARRAY['company_retention', 'company_data_key', 'archive_part'] LOOP
    EXECUTE format('CREATE POLICY tenant ON %I FOR SELECT TO hyrelog_api USING (company_id = tenant_company())', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['archive_range', 'chain_floor'] LOOP
    EXECUTE format('CREATE POLICY tenant ON %I FOR SELECT TO hyrelog_api USING (company_id = tenant_company()'
      ' AND CASE WHEN tenant_workspace() IS NULL THEN true ELSE workspace_id = tenant_workspace() END)', name);
    EXECUTE format('CREATE POLICY auditor ON %I FOR SELECT TO hyrelog_auditor USING (true)', name);
  END LOOP;
  EXECUTE format('CREATE POLICY auditor ON archive_part FOR SELECT TO hyrelog_auditor USING (true)');
END $$;
CREATE POLICY archiver ON events FOR SELECT TO hyrelog_archiver USING (true);
CREATE POLICY search_writer ON chain_floor FOR SELECT TO hyrelog_search USING (true);  -- what was purged is not indexed again
CREATE POLICY admin ON company_retention TO hyrelog_admin USING (true);
CREATE POLICY admin ON company_data_key TO hyrelog_admin USING (true);
CREATE POLICY scheduler ON audit_outbox FOR INSERT TO hyrelog_scheduler WITH CHECK (true);

GRANT USAGE ON SCHEMA public TO hyrelog_scheduler, hyrelog_archiver;
GRANT SELECT ON database_region TO hyrelog_scheduler, hyrelog_archiver, hyrelog_purger;
GRANT SELECT, INSERT ON company_retention TO hyrelog_admin;
GRANT UPDATE (hot_days, archive_days, cold_after_days) ON company_retention TO hyrelog_admin;
GRANT SELECT ON company_data_key TO hyrelog_admin;
GRANT UPDATE (wrapped) ON company_data_key TO hyrelog_admin;

GRANT SELECT (id, is_operator) ON company TO hyrelog_scheduler;
GRANT SELECT (id, company_id, kind) ON workspace TO hyrelog_scheduler;
GRANT SELECT ON company_retention, company_data_key, archive_part, archive_range, chain_floor, chain_head, source TO hyrelog_scheduler;
-- Nothing personal: marking needs no more of an event.
GRANT SELECT (workspace_id, seq, company_id, archive_day, received_at, prev_hash, hash) ON events TO hyrelog_scheduler;
GRANT INSERT ON archive_part, archive_range, audit_outbox TO hyrelog_scheduler;
GRANT UPDATE (sent_at, verified_at, verification_error, checked_at, is_cold_archived, cold_archive_key, restored_until, expiring_at)
  ON archive_part TO hyrelog_scheduler;
GRANT UPDATE (tiled_at, purging_at) ON archive_range TO hyrelog_scheduler;

GRANT SELECT ON events, archive_part, archive_range, company_data_key TO hyrelog_archiver;
GRANT INSERT ON company_data_key TO hyrelog_archiver;
GRANT UPDATE (part, archived_at, key, sha256, content_sha256, size, keys_size, blocks, occurred_from, occurred_to, received_from, received_to,
              archive_error) ON archive_part TO hyrelog_archiver;

GRANT SELECT, DELETE ON events, event_key, event_alias, search TO hyrelog_purger;
GRANT SELECT (workspace_id, seq) ON search_dead TO hyrelog_purger;
GRANT SELECT ON source, archive_part, archive_range, webhook_head TO hyrelog_purger;
GRANT UPDATE (purged_at) ON archive_range TO hyrelog_purger;
GRANT UPDATE (expired_at) ON archive_part TO hyrelog_purger;
GRANT SELECT, INSERT, UPDATE ON chain_floor TO hyrelog_purger;

GRANT SELECT ON company_retention, company_data_key, archive_part, archive_range, chain_floor TO hyrelog_api;
GRANT SELECT ON archive_part, archive_range, chain_floor TO hyrelog_auditor;
GRANT SELECT (workspace_id, seq) ON chain_floor TO hyrelog_search;
DO $$
DECLARE owner text := current_user;
BEGIN
  SET LOCAL ROLE hyrelog_key_lookup;
  GRANT EXECUTE ON FUNCTION operator_audit_workspace() TO hyrelog_scheduler;
  EXECUTE format('SET LOCAL ROLE %I', owner);
END $$;
