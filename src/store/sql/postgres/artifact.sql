SELECT
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
FROM artifacts
WHERE id = $2 AND ($1::text IS NULL OR tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
    AND (delete_after IS NULL OR delete_after > $3)
