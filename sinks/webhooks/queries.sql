-- Queries of the webhook sink and its dispatchers, in the role hyrelog_webhooks. Those up to `is_taken` are every sink's
-- (sinks/store.py). What time it is, PostgreSQL says: leases and due times of several dispatchers are compared with one clock.

-- name: lock_position
-- Where the sink stands in a partition; whoever holds this lock is the only one who writes for it.
SELECT topic_id, next_offset, refill_from FROM webhook_position WHERE topic = $1 AND partition = $2 FOR UPDATE

-- name: put_position
-- Where it goes on.
INSERT INTO webhook_position (topic, partition, topic_id, next_offset, refill_from) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (topic, partition) DO UPDATE
SET topic_id = excluded.topic_id, next_offset = excluded.next_offset, refill_from = excluded.refill_from

-- name: hold_endpoints
-- No endpoint is made or enabled until the batch is committed, or it was so before: else it might miss events from its first one on.
SELECT pg_advisory_xact_lock_shared(hashtextextended('hyrelog.webhooks.begin', 0))

-- name: with_endpoints
-- Those of the workspaces that ever had an endpoint.
SELECT workspace_id FROM webhook_head WHERE workspace_id = ANY($1::uuid[])

-- name: heads
-- The last event that the sink is done with, by workspace; where there never was an endpoint, nobody is to be told of any.
SELECT c.workspace_id, coalesce(h.seq, c.seq) FROM chain_head c LEFT JOIN webhook_head h USING (workspace_id)
WHERE c.workspace_id = ANY($1::uuid[])

-- name: events_after
-- What the topic lacks of a workspace, from its chain.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events WHERE workspace_id = $1 AND seq > $2 AND seq <= $3
ORDER BY seq LIMIT $4

-- name: workspaces_after
-- The next workspaces, with how far their chains and the sink are.
SELECT c.workspace_id, c.seq AS stored, coalesce(h.seq, c.seq) AS taken
FROM (SELECT workspace_id, seq FROM chain_head WHERE workspace_id > $1 ORDER BY workspace_id LIMIT $2) AS c
LEFT JOIN webhook_head h USING (workspace_id)
ORDER BY c.workspace_id

-- name: bury
-- What the sink can't take, for the operator to see. A workspace's last event may die again when the sink begins anew.
INSERT INTO webhook_dead (topic, partition, record_offset, workspace_id, seq, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING

-- name: letters_after
-- What may be tried again. This and the next two are asked in the owner's role (python -m sinks webhooks --retry-dead).
SELECT id, partition, workspace_id, seq FROM webhook_dead WHERE topic = $1 AND id > $2 ORDER BY id LIMIT 1000

-- name: forget_letter
-- It is tried again, in this transaction.
DELETE FROM webhook_dead WHERE id = $1

-- name: is_taken
-- Whether the sink took it after all and it is still to be told. If it was told, it is told again under the same id.
SELECT EXISTS (SELECT FROM webhook w JOIN webhook_due d ON d.webhook_id = w.id WHERE w.workspace_id = $1 AND d.seq = $2)

-- name: endpoints_of
-- Who may have to be told of these workspaces' events.
SELECT id, company_id, workspace_id, project_id, url, events, filters, from_seq, enabled, deleted_at IS NOT NULL AS deleted,
       failing_since IS NOT NULL AS failing, secret, CASE WHEN previous_until > now() THEN previous_secret END AS previous_secret
FROM webhook WHERE workspace_id = ANY($1::uuid[]) AND deleted_at IS NULL AND enabled

-- name: insert_due
-- New deliveries: claimed at once for so many seconds where a dispatcher has room for them, or due now. Returns those that are new.
INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, claimed, due_at)
SELECT n.webhook_id, n.id, n.company_id, n.workspace_id, n.seq, n.event_id, n.kind, n.claimed,
       clock_timestamp() + CASE WHEN n.claimed THEN $9 * interval '1 second' ELSE interval '0' END
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::uuid[], $7::text[], $8::boolean[])
  AS n (webhook_id, id, company_id, workspace_id, seq, event_id, kind, claimed)
ON CONFLICT DO NOTHING
RETURNING id

-- name: move_heads
-- The sink is done with these workspaces up to these events. An old event that is tried again moves nothing back.
UPDATE webhook_head AS h SET seq = greatest(h.seq, n.seq)
FROM unnest($1::uuid[], $2::bigint[]) AS n (workspace_id, seq)
WHERE h.workspace_id = n.workspace_id

-- name: lanes
-- The next endpoints that have anything to be sent, and in how many seconds the first of it is due. Jumps from endpoint to endpoint,
-- however many deliveries each has.
WITH RECURSIVE lane AS (
  (SELECT webhook_id, due_at FROM webhook_due WHERE webhook_id > $1 ORDER BY webhook_id, due_at LIMIT 1)
  UNION ALL
  SELECT next.webhook_id, next.due_at FROM lane
  CROSS JOIN LATERAL (
    SELECT webhook_id, due_at FROM webhook_due WHERE webhook_id > lane.webhook_id ORDER BY webhook_id, due_at LIMIT 1
  ) AS next
)
SELECT found.webhook_id AS place, w.id, w.company_id, w.workspace_id, w.project_id, w.url, w.events, w.filters, w.from_seq, w.enabled,
       w.deleted_at IS NOT NULL AS deleted, w.failing_since IS NOT NULL AS failing, w.secret,
       CASE WHEN w.previous_until > now() THEN w.previous_secret END AS previous_secret,
       extract(epoch FROM found.due_at - now())::float8 AS due_in
FROM (SELECT webhook_id, due_at FROM lane LIMIT $2) AS found
LEFT JOIN webhook w ON w.id = found.webhook_id
ORDER BY found.webhook_id

-- name: claim
-- Of each of these endpoints so many due deliveries, for so many seconds. What was claimed before and never finished, its dispatcher
-- died with: that attempt is recorded, and the delivery goes on with the next one, up to the number $4.
WITH found AS MATERIALIZED (
  SELECT d.* FROM unnest($1::uuid[], $2::integer[]) AS lane (webhook_id, room)
  JOIN webhook w ON w.id = lane.webhook_id AND w.deleted_at IS NULL
  CROSS JOIN LATERAL (
    SELECT * FROM webhook_due
    WHERE webhook_id = lane.webhook_id AND due_at <= now() AND (w.enabled OR kind = 'TEST')
      AND workspace_id = w.workspace_id AND company_id = w.company_id  -- whatever put it there: nobody is told of another's events
    ORDER BY due_at LIMIT lane.room FOR UPDATE SKIP LOCKED
  ) AS d
), noted AS (
  INSERT INTO webhook_attempt (webhook_id, delivery_id, company_id, workspace_id, seq, event_id, kind, attempt, attempted_at, state, error,
                               next_attempt_at)
  SELECT webhook_id, id, company_id, workspace_id, seq, event_id, kind, attempt, now(),
         CASE WHEN attempt < $4 THEN 'RETRYING' ELSE 'FAILED' END, 'INTERRUPTED', CASE WHEN attempt < $4 THEN now() END
  FROM found WHERE claimed
), given_up AS (
  DELETE FROM webhook_due AS d USING found AS f
  WHERE d.webhook_id = f.webhook_id AND d.id = f.id AND f.claimed AND f.attempt >= $4
)
UPDATE webhook_due AS d
SET claimed = true, due_at = now() + $3 * interval '1 second', attempt = d.attempt + f.claimed::integer
FROM found AS f
WHERE d.webhook_id = f.webhook_id AND d.id = f.id AND NOT (f.claimed AND f.attempt >= $4)
RETURNING d.webhook_id, d.id, d.workspace_id, d.seq, d.kind, d.attempt, d.failures, f.claimed AS lapsed

-- name: events_at
-- The events of claimed deliveries.
SELECT e.seq, e.prev_hash, e.hash, e.source_offset, e.source_index, e.id, e.company_id, e.workspace_id, e.project_id, e.tenant_id,
       e.trace_id, e.occurred_at, e.received_at, e.category, e.action, e.outcome, e.commitments, e.actor, e.resource, e.context,
       e.metadata, e.erased_at
FROM unnest($1::uuid[], $2::bigint[]) AS place (workspace_id, seq)
JOIN events e ON e.workspace_id = place.workspace_id AND e.seq = place.seq

-- name: settle
-- Attempts that ended, with what follows: the delivery is over, or due again in so many seconds. Of one whose lease was lost to another
-- dispatcher nothing is written: it was recorded as interrupted. A replay begins at attempt 1 again, so the kind tells whose it is, too.
WITH result AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::smallint[], $6::float8[], $7::float8[], $8::integer[],
                       $9::text[], $10::smallint[], $11::text[], $12::bytea[])
    AS r (webhook_id, id, kind, attempt, failures, pause, ago, duration_ms, state, response_status, error, body_hash)
), over AS (
  DELETE FROM webhook_due AS d USING result AS r
  WHERE d.webhook_id = r.webhook_id AND d.id = r.id AND d.claimed AND d.kind = r.kind AND d.attempt = r.attempt AND r.pause IS NULL
  RETURNING d.webhook_id, d.id, d.company_id, d.workspace_id, d.seq, d.event_id, d.kind, r.attempt, r.ago, r.duration_ms, r.state,
            r.response_status, r.error, r.body_hash, NULL::timestamptz
), put_off AS (
  UPDATE webhook_due AS d
  SET claimed = false, attempt = d.attempt + 1, failures = r.failures, due_at = now() + r.pause * interval '1 second'
  FROM result AS r
  WHERE d.webhook_id = r.webhook_id AND d.id = r.id AND d.claimed AND d.kind = r.kind AND d.attempt = r.attempt AND r.pause IS NOT NULL
  RETURNING d.webhook_id, d.id, d.company_id, d.workspace_id, d.seq, d.event_id, d.kind, r.attempt, r.ago, r.duration_ms, r.state,
            r.response_status, r.error, r.body_hash, d.due_at
)
INSERT INTO webhook_attempt (webhook_id, delivery_id, company_id, workspace_id, seq, event_id, kind, attempt, attempted_at, duration_ms,
                             state, response_status, error, body_hash, next_attempt_at)
SELECT e.webhook_id, e.id, e.company_id, e.workspace_id, e.seq, e.event_id, e.kind, e.attempt, now() - e.ago * interval '1 second',
       e.duration_ms, e.state, e.response_status, e.error, e.body_hash, e.next_at
FROM (SELECT * FROM over UNION ALL SELECT * FROM put_off)
  AS e (webhook_id, id, company_id, workspace_id, seq, event_id, kind, attempt, ago, duration_ms, state, response_status, error, body_hash,
        next_at)

-- name: give_back
-- Claimed deliveries that were not begun: anybody's again.
UPDATE webhook_due AS d SET claimed = false, due_at = now()
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[]) AS r (webhook_id, id, kind, attempt)
WHERE d.webhook_id = r.webhook_id AND d.id = r.id AND d.claimed AND d.kind = r.kind AND d.attempt = r.attempt

-- name: end_unwanted
-- What is due to endpoints that were disabled or deleted is given up, so many of each at a time; what a dispatcher has in hand is his.
WITH found AS MATERIALIZED (
  SELECT d.* FROM webhook w
  CROSS JOIN LATERAL (
    SELECT * FROM webhook_due
    WHERE webhook_id = w.id AND (NOT claimed OR due_at <= now()) AND (kind <> 'TEST' OR w.deleted_at IS NOT NULL)
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
  ) AS d
  WHERE w.id = ANY($1::uuid[]) AND NOT w.enabled
), gone AS (
  DELETE FROM webhook_due AS d USING found AS f WHERE d.webhook_id = f.webhook_id AND d.id = f.id
)
INSERT INTO webhook_attempt (webhook_id, delivery_id, company_id, workspace_id, seq, event_id, kind, attempt, attempted_at, state, error)
SELECT webhook_id, id, company_id, workspace_id, seq, event_id, kind, attempt, now(), 'FAILED',
       CASE WHEN claimed THEN 'INTERRUPTED' ELSE 'ENDPOINT_DISABLED' END
FROM found

-- name: note_failing
-- The first failure after a success.
UPDATE webhook SET failing_since = now() WHERE id = ANY($1::uuid[]) AND failing_since IS NULL AND enabled

-- name: note_well
-- The first success after a failure.
UPDATE webhook SET failing_since = NULL WHERE id = ANY($1::uuid[]) AND failing_since IS NOT NULL

-- name: disable
-- Endpoints that want no more, or have failed for more than so many seconds. Not one that leads elsewhere or was enabled anew since: of
-- that the attempt says nothing.
UPDATE webhook AS w SET enabled = false, disabled_reason = $4, disabled_at = now(), updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS asked (id, url, from_seq)
WHERE w.id = asked.id AND w.url = asked.url AND w.from_seq = asked.from_seq AND w.enabled
  AND ($5::float8 IS NULL OR w.failing_since < now() - $5 * interval '1 second')
RETURNING w.id, w.company_id

-- name: next_replay
-- A replay to go on with, of an endpoint that has less than $2 deliveries due within a minute, and $3 in all; replays take turns. What
-- waits for its next attempt holds up no replay, or an endpoint that failed for a while could not be sent what it missed. Not one of $4.
SELECT r.id, r.webhook_id, r.workspace_id, r.from_at, r.to_at, r.from_seq, r.to_seq, r.event_ids, r.after_at, r.after_seq
FROM webhook_replay r
WHERE r.state = 'RUNNING' AND r.webhook_id > $1 AND r.id <> ALL($4::uuid[])
  AND (SELECT count(*) FROM (
    SELECT FROM webhook_due d WHERE d.webhook_id = r.webhook_id AND d.due_at < now() + interval '1 minute' LIMIT $2
  ) AS soon) < $2
  AND (SELECT count(*) FROM (SELECT FROM webhook_due d WHERE d.webhook_id = r.webhook_id LIMIT $3) AS due) < $3
ORDER BY r.webhook_id LIMIT 1
FOR UPDATE SKIP LOCKED

-- name: endpoint
-- Whom a replay is for.
SELECT id, company_id, workspace_id, project_id, url, events, filters, from_seq, enabled, deleted_at IS NOT NULL AS deleted,
       failing_since IS NOT NULL AS failing, secret, CASE WHEN previous_until > now() THEN previous_secret END AS previous_secret
FROM webhook WHERE id = $1

-- name: events_by_time
-- The next events of a range of times (the end not included), in their order.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events
WHERE workspace_id = $1 AND occurred_at >= $2 AND occurred_at < $3 AND (occurred_at, seq) > (coalesce($4, '-infinity'::timestamptz), $5)
ORDER BY occurred_at, seq LIMIT $6

-- name: events_by_id
-- The next of these events, in the order of their chain.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events WHERE workspace_id = $1 AND id = ANY($2::uuid[]) AND seq > $3
ORDER BY seq LIMIT $4

-- name: hold_waiting
-- Those of these deliveries that are still to be made: nobody claims them before this transaction ends.
SELECT FROM webhook_due WHERE webhook_id = $1 AND id = ANY($2::uuid[]) AND NOT claimed ORDER BY id FOR UPDATE

-- name: under_way
-- Those that somebody has claimed.
SELECT id FROM webhook_due WHERE webhook_id = $1 AND id = ANY($2::uuid[]) AND claimed

-- name: replay_due
-- Deliveries to be made again, from attempt 1; one that is still to be made begins anew. Never one that is under way: a result of it is
-- known by its attempt.
INSERT INTO webhook_due AS d (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at)
SELECT $1, n.id, n.company_id, n.workspace_id, n.seq, n.event_id, 'REPLAY', now()
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::uuid[]) AS n (id, company_id, workspace_id, seq, event_id)
ON CONFLICT (webhook_id, id) DO UPDATE SET kind = 'REPLAY', attempt = 1, failures = 0, due_at = now() WHERE NOT d.claimed

-- name: move_replay
-- Where a replay goes on, or how it ended.
UPDATE webhook_replay
SET state = $2, events = events + $3, after_at = $4, after_seq = $5, finished_at = CASE WHEN $2 <> 'RUNNING' THEN now() END
WHERE id = $1

-- name: is_replaying
-- Whether any replay is under way.
SELECT EXISTS (SELECT FROM webhook_replay WHERE state = 'RUNNING')

-- name: notify_dispatchers
-- They look at once for what is due.
SELECT pg_notify($1, '')

-- name: backlog
-- How many deliveries are to be made, counted up to a number.
SELECT count(*) FROM (SELECT FROM webhook_due WHERE due_at < '9999-01-01T00:00:00Z' LIMIT $1) AS due

-- name: days
-- Make the partitions of attempts to come, drop those older than so many days.
SELECT webhook_days($1)
