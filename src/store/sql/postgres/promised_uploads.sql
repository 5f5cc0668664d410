-- No URL can bring their bytes any more, and it is not known whether one did.
SELECT
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
FROM artifacts
WHERE
    kind = 'uploads' AND stored_at IS NULL AND uploadable_until <= $1 AND delete_after > $1
    AND id > $3
ORDER BY id
LIMIT $2
