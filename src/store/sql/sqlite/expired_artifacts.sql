-- An upload without an object waits for the end of the URL that could bring it.
SELECT
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
FROM artifacts
WHERE
    delete_after <= ?1
    AND (delete_after, id) > (?3, ?4)
    AND (stored_at IS NOT NULL OR uploadable_until IS NULL OR uploadable_until <= ?1)
ORDER BY delete_after, id
LIMIT ?2
