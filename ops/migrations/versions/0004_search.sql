-- Finding events: by words, and by filters that the events table has no index for.
--
-- New group roles:
--   hyrelog_search       the search sink: fills the search table and keeps its place in the events topic
--   hyrelog_search_view  no login: owns search_found(), search_indexed() and search_missing(), the API's one way to the search table

DO $$
DECLARE role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['hyrelog_search', 'hyrelog_search_view'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
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
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);  -- only of vacuumed pages are times read without the rows

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
CREATE UNIQUE INDEX search_dead_event ON search_dead (workspace_id, seq);  -- one letter an event; of null ones as many as there are

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

-- In the order of a company's list. Building it keeps the chain writer waiting; where events are many already, make it beforehand by
-- CREATE INDEX CONCURRENTLY.
CREATE INDEX IF NOT EXISTS events_company_time ON events (company_id, occurred_at, id);

-- What the search table is read by. None of these costs ingest anything.
CREATE INDEX search_time ON search (workspace_id, occurred_at, seq);
CREATE INDEX search_company_time ON search (company_id, occurred_at, id);
CREATE INDEX search_received ON search (workspace_id, received_at) INCLUDE (occurred_at, seq, id);
-- A reader looks through all that is pending: little may be. Rows come in thousands, so little is enough.
CREATE INDEX search_tokens ON search USING gin (tokens) WITH (gin_pending_list_limit = 512);

-- What is asked of an event; null: anything. Times are from (inclusive) to (exclusive), and always set.
CREATE TYPE event_filter AS (
  occurred_from timestamptz,
  occurred_to   timestamptz,
  received_from timestamptz,
  received_to   timestamptz,
  category      text,
  action        text,
  action_prefix text,
  outcome       text,
  project_id    uuid,
  tenant_id     text,
  actor_id      text,
  actor_email   text,
  resource_type text,
  resource_id   text,
  trace_id      uuid
);

-- A place in a list. What a list is not ordered by is null: those by time have (occurred_at, seq) in a workspace and
-- (occurred_at, id) in a company, those by seq have seq.
CREATE TYPE event_place AS (occurred_at timestamptz, seq bigint, id uuid);

-- Both are inlined: of a filter known to be null, nothing is left in the plan.
CREATE FUNCTION is_asked(event events, asked event_filter) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN event.occurred_at >= asked.occurred_from AND event.occurred_at < asked.occurred_to
    AND (asked.received_from IS NULL OR event.received_at >= asked.received_from)
    AND (asked.received_to IS NULL OR event.received_at < asked.received_to)
    AND (asked.category IS NULL OR event.category = asked.category)
    AND (asked.action IS NULL OR event.action = asked.action)
    AND (asked.action_prefix IS NULL OR starts_with(event.action, asked.action_prefix))
    AND (asked.outcome IS NULL OR coalesce(event.outcome = asked.outcome, false))
    AND (asked.project_id IS NULL OR coalesce(event.project_id = asked.project_id, false))
    AND (asked.tenant_id IS NULL OR coalesce(event.tenant_id = asked.tenant_id, false))
    AND (asked.actor_id IS NULL OR coalesce(event.actor_id = asked.actor_id, false))
    AND (asked.actor_email IS NULL OR coalesce(event.actor_email = asked.actor_email, false))
    AND (asked.resource_type IS NULL OR coalesce(event.resource_type = asked.resource_type, false))
    AND (asked.resource_id IS NULL OR coalesce(event.resource_id = asked.resource_id, false))
    AND (asked.trace_id IS NULL OR event.trace_id = asked.trace_id);

CREATE FUNCTION place_of(event events, sort text) RETURNS event_place LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN ROW(
    CASE WHEN sort <> 'seq' THEN event.occurred_at END,
    CASE WHEN sort <> 'company' THEN event.seq END,
    CASE WHEN sort = 'company' THEN event.id END
  )::event_place;

-- Whose rows the functions below may show: the workspaces of the transaction's tenant, and none when called for another company.
CREATE FUNCTION search_workspaces(company uuid, workspace uuid) RETURNS SETOF uuid LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT w.id FROM workspace w
  WHERE company = tenant_company() AND w.company_id = company
    AND (workspace IS NULL OR w.id = workspace) AND (tenant_workspace() IS NULL OR w.id = tenant_workspace());
END;

-- Up to which seq each workspace can be searched. An event above it is only in events.
CREATE FUNCTION search_indexed(company uuid, workspace uuid) RETURNS TABLE (workspace_id uuid, seq bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT w.id, coalesce((SELECT s.seq FROM search s WHERE s.workspace_id = w.id ORDER BY s.seq DESC LIMIT 1), 0)
  FROM search_workspaces(company, workspace) AS w (id);
END;

-- What could not be made searchable, by workspace and seq: it is only in events, too.
CREATE FUNCTION search_missing(company uuid, workspace uuid) RETURNS TABLE (workspace_id uuid, seq bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT d.workspace_id, d.seq FROM search_workspaces(company, workspace) AS w (id) JOIN search_dead d ON d.workspace_id = w.id;
END;

-- The first `most` searchable events behind a place that have all tokens wanted and lie within the filter's times, in no order.
-- First the next `walk` rows of the list are tried one by one, which is enough where what is wanted is frequent. Where it is
-- rare, all rows that have the tokens are sorted. `sort` is workspace, company or seq; but for company, a workspace is given.
CREATE FUNCTION search_found(
  company uuid, workspace uuid, asked event_filter, wanted bigint[],
  sort text, descending boolean, edge event_place, walk integer, most integer
) RETURNS TABLE (workspace_id uuid, seq bigint) ROWS 100
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
  -- A sequential scan is never right here, whatever statistics say; the others are, whatever the caller's settings.
  SET enable_seqscan = off SET enable_bitmapscan = on SET enable_sort = on SET enable_incremental_sort = on SET work_mem = '16MB'
AS $$
DECLARE
  direction text := CASE WHEN descending THEN 'DESC' ELSE 'ASC' END;
  in_order text := format(CASE sort
    WHEN 'seq' THEN 's.seq %1$s'
    WHEN 'company' THEN 's.occurred_at %1$s, s.id %1$s'
    ELSE 's.occurred_at %1$s, s.seq %1$s' END, direction);
  in_bounds text := 's.occurred_at >= $3 AND s.occurred_at < $4 AND ' || format(CASE sort
    WHEN 'seq' THEN 's.seq %1$s $6'
    WHEN 'company' THEN '(s.occurred_at, s.id) %1$s ($5, $7)'
    ELSE '(s.occurred_at, s.seq) %1$s ($5, $6)' END, CASE WHEN descending THEN '<' ELSE '>' END);
  in_receipt text := CASE WHEN asked.received_from IS NULL THEN 'true' ELSE 's.received_at >= $8' END
    || CASE WHEN asked.received_to IS NULL THEN '' ELSE ' AND s.received_at < $9' END;
  mine uuid := coalesce(workspace, tenant_workspace());  -- a workspace key sees no sibling
  whose text := CASE WHEN mine IS NULL THEN 's.company_id = $1' ELSE 's.workspace_id = $2' END;
  walked bigint;
  workspaces uuid[];
  seqs bigint[];
BEGIN
  IF NOT EXISTS (SELECT FROM search_workspaces(company, mine)) THEN
    RETURN;
  END IF;
  -- EXECUTE plans for the values at hand: frequencies are those of these very tokens.
  IF walk > 0 THEN
    EXECUTE format(
      'SELECT count(*), array_agg(s.workspace_id) FILTER (WHERE s.is_wanted), array_agg(s.seq) FILTER (WHERE s.is_wanted) FROM ('
      '  SELECT s.workspace_id, s.seq, s.tokens @> $10 AND %s AS is_wanted FROM search s WHERE %s AND %s ORDER BY %s LIMIT $11) s',
      in_receipt, whose, in_bounds, in_order
    ) INTO walked, workspaces, seqs USING company, mine, asked.occurred_from, asked.occurred_to, edge.occurred_at, edge.seq, edge.id,
      asked.received_from, asked.received_to, wanted, walk;
    IF walked < walk OR cardinality(seqs) >= most THEN
      RETURN QUERY SELECT * FROM unnest(workspaces[1:most], seqs[1:most]);
      RETURN;
    END IF;
  END IF;
  -- OFFSET 0: or else the planner may, for the sake of LIMIT, read the whole list in order.
  RETURN QUERY EXECUTE format(
    CASE WHEN cardinality(wanted) > 0 THEN
      'SELECT s.workspace_id, s.seq FROM ('
      '  SELECT * FROM search s WHERE s.tokens @> $10 AND %1$s AND %2$s AND %3$s OFFSET 0) s ORDER BY %4$s LIMIT $11'
    ELSE
      'SELECT s.workspace_id, s.seq FROM search_workspaces($1, $2) w (id) CROSS JOIN LATERAL (SELECT * FROM ('
      '  SELECT s.workspace_id, s.seq, s.occurred_at, s.id FROM search s WHERE s.workspace_id = w.id AND %2$s AND %3$s OFFSET 0) s'
      '  ORDER BY %4$s LIMIT $11) s ORDER BY %4$s LIMIT $11'
    END, whose, in_bounds, in_receipt, in_order
  ) USING company, mine, asked.occurred_from, asked.occurred_to, edge.occurred_at, edge.seq, edge.id,
    asked.received_from, asked.received_to, wanted, most;
END $$;

DO $$
DECLARE
  routine text;
  owner text := current_user;
BEGIN
  EXECUTE format('GRANT hyrelog_search_view TO %I WITH INHERIT FALSE, SET TRUE', owner);
  GRANT USAGE, CREATE ON SCHEMA public TO hyrelog_search_view;
  GRANT SELECT ON search TO hyrelog_search_view;
  GRANT SELECT (workspace_id, seq) ON search_dead TO hyrelog_search_view;
  GRANT SELECT (id, company_id) ON workspace TO hyrelog_search_view;
  CREATE POLICY search_view ON search FOR SELECT TO hyrelog_search_view USING (true);
  CREATE POLICY search_view ON search_dead FOR SELECT TO hyrelog_search_view USING (true);
  CREATE POLICY search_view ON workspace FOR SELECT TO hyrelog_search_view USING (true);
  FOREACH routine IN ARRAY ARRAY[
    'search_indexed(uuid, uuid)', 'search_missing(uuid, uuid)',
    'search_found(uuid, uuid, event_filter, bigint[], text, boolean, event_place, integer, integer)'
  ] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO hyrelog_api', routine);
    EXECUTE format('ALTER FUNCTION %s OWNER TO hyrelog_search_view', routine);
  END LOOP;
  REVOKE CREATE ON SCHEMA public FROM hyrelog_search_view;
END $$;
