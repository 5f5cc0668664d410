-- An object that is not there waits for the end of the URL that could still bring it.
SELECT
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
FROM artifacts
WHERE delete_after <= $1 AND (stored_at IS NOT NULL OR uploadable_until IS NULL OR uploadable_until <= $1)
ORDER BY delete_after
LIMIT $2
