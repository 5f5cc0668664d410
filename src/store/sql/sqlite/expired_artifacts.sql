SELECT
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
FROM artifacts
WHERE delete_after <= ?1
ORDER BY delete_after
LIMIT ?2
