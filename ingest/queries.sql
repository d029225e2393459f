-- name: source_standing
-- Which partitions are parked, and where each stands: to refuse what would wait too long to be stored.
SELECT partition, offset_base, next_offset, parked_reason FROM source WHERE topic = $1

-- name: projects_of_workspace
-- Which of these ids are projects of the workspace: an event may name no other.
SELECT id FROM project WHERE workspace_id = $1 AND id = ANY($2::uuid[])

-- name: find_stored
-- Which of these ids are stored: for all requests that wait, in one go. Ids are secret to their workspace's request.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events WHERE id = ANY($1::uuid[])

-- name: find_rejected
-- Which of these ids could not be stored.
SELECT id FROM rejected WHERE id = ANY($1::uuid[])
