-- What was, is being and will be sent to an endpoint: webhook_due has what is still to be sent, webhook_attempt every attempt. A delivery's
-- id begins with the time of its event's receipt, so both are in one order. Walks go down from $3 (exclusive) to $4, $5 deliveries at
-- most, and say of each what state it is in. What is due is asked for one by one: an EXISTS might be answered by reading all of it.
-- No attempt is older than its delivery (but for two clocks), so partitions before it need not be looked at.

-- name: is_webhook
-- Whether the company has, or had, the endpoint.
SELECT EXISTS (SELECT FROM webhook WHERE id = $1 AND company_id = $2)

-- name: walk_all
-- All deliveries, whatever their state.
SELECT id, NULL AS state FROM (
  (SELECT id FROM webhook_due WHERE webhook_id = $1 AND company_id = $2 AND id < $3 AND id >= $4 ORDER BY id DESC LIMIT $5)
  UNION
  (SELECT DISTINCT delivery_id FROM webhook_attempt
   WHERE webhook_id = $1 AND company_id = $2 AND delivery_id < $3 AND delivery_id >= $4
   ORDER BY delivery_id DESC LIMIT $5)
) found
ORDER BY id DESC
LIMIT $5

-- name: walk_due
-- Those that are still to be sent.
SELECT id, CASE WHEN claimed THEN 'SENDING' WHEN attempt > 1 THEN 'RETRYING' ELSE 'PENDING' END AS state
FROM webhook_due
WHERE webhook_id = $1 AND company_id = $2 AND id < $3 AND id >= $4
ORDER BY id DESC
LIMIT $5

-- name: walk_tried
-- Those that were attempted.
SELECT tried.id,
  CASE WHEN (SELECT d.kind FROM webhook_due d WHERE d.webhook_id = $1 AND d.company_id = $2 AND d.id = tried.id) IS NULL
  THEN tried.state ELSE 'DUE' END AS state
FROM (
  SELECT DISTINCT ON (delivery_id) delivery_id AS id, state FROM webhook_attempt
  WHERE webhook_id = $1 AND company_id = $2 AND delivery_id < $3 AND delivery_id >= $4
  ORDER BY delivery_id DESC, attempted_at DESC
  LIMIT $5
) tried
ORDER BY tried.id DESC

-- name: walk_failed
-- Those that have failed for good once; a replay may have been more lucky since.
SELECT failed.id,
  CASE WHEN (SELECT d.kind FROM webhook_due d WHERE d.webhook_id = $1 AND d.company_id = $2 AND d.id = failed.id) IS NULL
  THEN (
    SELECT state FROM webhook_attempt a
    WHERE a.webhook_id = $1 AND a.company_id = $2 AND a.delivery_id = failed.id
      AND a.attempted_at >= uuid_extract_timestamp(failed.id) - interval '1 hour'
    ORDER BY a.delivery_id DESC, a.attempted_at DESC LIMIT 1
  ) ELSE 'DUE' END AS state
FROM (
  SELECT DISTINCT delivery_id AS id FROM webhook_attempt
  WHERE webhook_id = $1 AND company_id = $2 AND delivery_id < $3 AND delivery_id >= $4 AND state = 'FAILED'
  ORDER BY delivery_id DESC
  LIMIT $5
) failed
ORDER BY failed.id DESC

-- name: deliveries
-- Those deliveries, a row for each attempt, the oldest first; one without attempts has one row, and its newest attempts are enough.
SELECT wanted.id, d.kind AS due_kind, d.seq AS due_seq, d.event_id AS due_event_id, d.claimed, d.attempt AS next_attempt, d.due_at,
  a.kind, a.seq, a.event_id, a.attempt, a.attempted_at, a.duration_ms, a.state, a.response_status, a.error, a.body_hash, a.next_attempt_at
FROM unnest($3::uuid[]) WITH ORDINALITY AS wanted (id, place)
LEFT JOIN LATERAL (SELECT * FROM webhook_due WHERE webhook_id = $1 AND company_id = $2 AND id = wanted.id) d ON true
LEFT JOIN LATERAL (
  SELECT * FROM webhook_attempt
  WHERE webhook_id = $1 AND company_id = $2 AND delivery_id = wanted.id
    AND attempted_at >= uuid_extract_timestamp(wanted.id) - interval '1 hour'
  ORDER BY delivery_id DESC, attempted_at DESC
  LIMIT 100
) a ON true
ORDER BY wanted.place, a.attempted_at

-- name: receipt_of_event
-- When an event of the company's, or the one that it repeats, was received, and its id.
SELECT id, received_at FROM events WHERE id = $1 AND company_id = $2
UNION ALL
SELECT e.id, e.received_at FROM event_alias a JOIN events e USING (workspace_id, seq) WHERE a.id = $1 AND a.company_id = $2
LIMIT 1
