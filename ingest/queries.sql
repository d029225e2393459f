-- name: source_standing
-- Which partitions are parked, and where each stands: to refuse what would wait too long to be stored.
SELECT partition, offset_base, next_offset, parked_reason FROM source WHERE topic = $1

-- name: projects_of_workspace
-- Which of these ids are projects of the workspace: an event may name no other.
SELECT id FROM project WHERE company_id = $1 AND workspace_id = $2 AND id = ANY($3::uuid[])

-- name: find_stored
-- Which of these ids are stored, each in its company: for all requests that wait, in one go.
SELECT seq, prev_hash, hash, source_offset, source_index, id, company_id, workspace_id, project_id, tenant_id, trace_id,
       occurred_at, received_at, category, action, outcome, commitments, actor, resource, context, metadata, erased_at
FROM events JOIN unnest($1::uuid[], $2::uuid[]) AS wanted (id, company_id) USING (id, company_id)

-- name: find_rejected
-- Which of these ids could not be stored, each in its company.
SELECT id FROM rejected JOIN unnest($1::uuid[], $2::uuid[]) AS wanted (id, company_id) USING (id, company_id)
