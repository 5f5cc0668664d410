SELECT
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
FROM artifacts
WHERE id = ?2 AND (?1 IS NULL OR tenant IN (SELECT value FROM json_each(?1)))
    AND (delete_after IS NULL OR delete_after > ?3)
