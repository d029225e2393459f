-- Queries of ops/lifecycle.py, in the role hyrelog_scheduler.

-- name: cold_days
-- After how many days archives go cold, by any terms that events were received under, and those that are kept by such terms.
SELECT cold_after_days FROM company_retention WHERE cold_after_days IS NOT NULL
UNION
SELECT cold_after_days FROM archive_part WHERE cold_after_days IS NOT NULL AND expired_at IS NULL
ORDER BY cold_after_days
