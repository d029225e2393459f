-- Queries of whoever reads or writes the archive: each in the role of its process.

-- name: data_key
-- A company's data key, wrapped.
SELECT wrapped FROM company_data_key WHERE company_id = $1

-- name: insert_data_key
-- The first one stays.
INSERT INTO company_data_key (company_id, wrapped) VALUES ($1, $2) ON CONFLICT (company_id) DO NOTHING
