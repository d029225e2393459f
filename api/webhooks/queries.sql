-- Statements of api/webhooks, each in a transaction of the company that it works for.

-- name: lock_company
-- Plans are changed, and endpoints enabled, one after the other: whoever counts them sees all (ops/tenancy/queries.sql does the same).
SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.webhooks.' || $1::uuid, 0))

-- name: room_of_company
-- How many endpoints the company may have enabled, and how many are.
SELECT (p.limits || c.overrides ->> 'webhooks')::integer AS allowed,
  (SELECT count(*) FROM webhook WHERE company_id = $1 AND enabled) AS enabled
FROM company c JOIN plan p ON p.name = c.plan
WHERE c.id = $1

-- name: place_of_endpoint
-- Whether a workspace of the company is archived, and whether the project that was named is one of it.
SELECT w.archived_at IS NOT NULL AS archived,
  $3::uuid IS NULL OR EXISTS (SELECT FROM project WHERE id = $3 AND workspace_id = w.id AND company_id = $2) AS has_project
FROM workspace w
WHERE w.id = $1 AND w.company_id = $2

-- name: hold_sink
-- Until this transaction ends, the sink is at no batch of events: its next one knows the endpoint, from the first event on.
SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.webhooks.begin', 0))

-- name: insert_head
-- From its first endpoint on, the sink looks at a workspace: behind what there is now.
INSERT INTO webhook_head (workspace_id, company_id, seq)
SELECT $1, $2, coalesce((SELECT seq FROM chain_head WHERE workspace_id = $1 AND company_id = $2), 0)
ON CONFLICT DO NOTHING

-- name: insert_webhook
-- A new endpoint, told of what is stored from now on.
INSERT INTO webhook (id, company_id, workspace_id, project_id, url, events, filters, description, secret, created_at, updated_at, from_seq)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10::timestamptz, $10::timestamptz,
        coalesce((SELECT seq FROM chain_head WHERE workspace_id = $3 AND company_id = $2), 0) + 1)

-- name: hold_webhook
-- An endpoint that is about to change: nobody else changes it meanwhile.
SELECT id FROM webhook WHERE id = $1 AND company_id = $2 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: webhook
-- An endpoint, deleted ones too, and its latest replay.
SELECT h.id, h.workspace_id, h.project_id, h.url, h.events, h.filters, h.description, h.enabled, h.disabled_reason, h.disabled_at,
  h.failing_since, h.previous_until, h.created_at, h.updated_at, h.deleted_at,
  r.id AS replay_id, r.state, r.events AS replayed, r.created_at AS replay_created_at, r.finished_at
FROM webhook h LEFT JOIN LATERAL (
  SELECT id, state, events, created_at, finished_at FROM webhook_replay
  WHERE webhook_id = h.id AND company_id = $2 ORDER BY created_at DESC LIMIT 1
) r ON true
WHERE h.id = $1 AND h.company_id = $2

-- name: webhooks_of_company
-- A page of a company's endpoints in the order of their ids, of all workspaces or of one.
SELECT h.id, h.workspace_id, h.project_id, h.url, h.events, h.filters, h.description, h.enabled, h.disabled_reason, h.disabled_at,
  h.failing_since, h.previous_until, h.created_at, h.updated_at, h.deleted_at,
  r.id AS replay_id, r.state, r.events AS replayed, r.created_at AS replay_created_at, r.finished_at
FROM webhook h
LEFT JOIN LATERAL (
  SELECT id, state, events, created_at, finished_at FROM webhook_replay
  WHERE webhook_id = h.id AND company_id = $1 ORDER BY created_at DESC LIMIT 1
) r ON true
WHERE h.company_id = $1 AND ($2::uuid IS NULL OR h.workspace_id = $2) AND h.deleted_at IS NULL AND h.id > $3
ORDER BY h.id
LIMIT $4

-- name: webhooks_of_workspace
-- A page of a workspace's endpoints in the order of their ids; one row of nulls when there are none, none when it is not the company's.
SELECT h.id, h.workspace_id, h.project_id, h.url, h.events, h.filters, h.description, h.enabled, h.disabled_reason, h.disabled_at,
  h.failing_since, h.previous_until, h.created_at, h.updated_at, h.deleted_at,
  r.id AS replay_id, r.state, r.events AS replayed, r.created_at AS replay_created_at, r.finished_at
FROM workspace w
LEFT JOIN LATERAL (
  SELECT * FROM webhook WHERE workspace_id = w.id AND company_id = $2 AND deleted_at IS NULL AND id > $3 ORDER BY id LIMIT $4
) h ON true
LEFT JOIN LATERAL (
  SELECT id, state, events, created_at, finished_at FROM webhook_replay
  WHERE webhook_id = h.id AND company_id = $2 ORDER BY created_at DESC LIMIT 1
) r ON true
WHERE w.id = $1 AND w.company_id = $2
ORDER BY h.id

-- name: change_webhook
-- What its owner may change. Another URL has not failed yet.
UPDATE webhook
SET url = $3, events = $4, filters = $5::jsonb, description = $6, updated_at = now(),
  failing_since = CASE WHEN url = $3 THEN failing_since END
WHERE id = $1 AND company_id = $2

-- name: enable_webhook
-- From now on it is told what is stored; of what was meanwhile, a replay tells.
UPDATE webhook
SET enabled = true, disabled_reason = NULL, disabled_at = NULL, failing_since = NULL, updated_at = now(),
  from_seq = coalesce((SELECT seq FROM chain_head c WHERE c.workspace_id = webhook.workspace_id AND c.company_id = $2), 0) + 1
WHERE id = $1 AND company_id = $2

-- name: disable_webhook
-- From now on it is told nothing.
UPDATE webhook SET enabled = false, disabled_reason = 'MANUAL', disabled_at = now(), updated_at = now()
WHERE id = $1 AND company_id = $2 AND enabled

-- name: delete_webhook
-- Its deliveries stay; its secrets are of no more use, but the columns ask for one.
UPDATE webhook
SET enabled = false, disabled_reason = coalesce(disabled_reason, 'MANUAL'), disabled_at = coalesce(disabled_at, now()),
  previous_secret = NULL, previous_until = NULL, updated_at = now(), deleted_at = now()
WHERE id = $1 AND company_id = $2

-- name: rotate_secret
-- Another secret; what is sent is signed with the one before too until the overlap is over.
UPDATE webhook SET previous_secret = secret, previous_until = $4::timestamptz, secret = $3, updated_at = now()
WHERE id = $1 AND company_id = $2

-- name: insert_test
-- A delivery of no event, due at once.
INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, kind, due_at)
SELECT id, $3, $2, workspace_id, 'TEST', now() FROM webhook WHERE id = $1 AND company_id = $2

-- name: notify_dispatchers
-- They look at once for what there is to do, rather than when they would have.
SELECT pg_notify($1, '')

-- name: events_between
-- How many events of the workspace have a timestamp in that range, counted no further than asked for.
SELECT count(*) FROM (
  SELECT FROM events
  WHERE workspace_id = $1 AND company_id = $2 AND occurred_at >= $3::timestamptz AND occurred_at < $4::timestamptz
  LIMIT $5
) found

-- name: seq_of_workspace
-- The newest event's place in the workspace's chain; 0 before the first one.
SELECT coalesce((SELECT seq FROM chain_head WHERE workspace_id = $1 AND company_id = $2), 0)

-- name: events_by_ids
-- Those of the ids that are stored events of the workspace, or of events that repeat one, each with that one's.
SELECT id AS asked, id FROM events WHERE id = ANY($3::uuid[]) AND workspace_id = $1 AND company_id = $2
UNION ALL
SELECT a.id, e.id FROM event_alias a JOIN events e USING (workspace_id, seq)
WHERE a.id = ANY($3::uuid[]) AND a.workspace_id = $1 AND a.company_id = $2

-- name: insert_replay
-- A replay, unless one is under way.
INSERT INTO webhook_replay (id, webhook_id, company_id, workspace_id, from_at, to_at, from_seq, to_seq, event_ids, created_at)
VALUES ($1, $2, $3, $4, $5::timestamptz, $6::timestamptz, $7, $8, $9::uuid[], $10::timestamptz)
ON CONFLICT (webhook_id) WHERE state = 'RUNNING' DO NOTHING
RETURNING id

-- name: cancel_replay
-- An endpoint that is told nothing needs no more events put in line.
UPDATE webhook_replay SET state = 'CANCELLED', finished_at = now() WHERE webhook_id = $1 AND company_id = $2 AND state = 'RUNNING'
