-- The first event that refers to it is the one whose subject it is.
UPDATE artifacts
SET
    event_id = coalesce(event_id, ?4),
    subject_id = coalesce(subject_id, ?5),
    delete_after = max(delete_after, ?6)
WHERE id = ?1 AND tenant = ?2 AND source = ?3 AND kind = 'uploads' AND delete_after > ?7
RETURNING
    id, tenant, source, kind, event_id, job_id, subject_id, media_type, bytes, digest, created_at, stored_at, delete_after
