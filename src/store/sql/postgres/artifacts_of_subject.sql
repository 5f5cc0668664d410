SELECT
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
FROM artifacts
WHERE tenant = $1 AND subject_id = $2 AND (delete_after IS NULL OR delete_after > $3)
ORDER BY created_at, id
LIMIT $4
