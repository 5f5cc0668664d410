-- Over, and without an object; nobody's any more. The row stays until no URL can bring the object back, and for its
-- day (and an hour, for clocks differ): on that, the same bytes have the same id, and who removes the one could meet the other.
UPDATE artifacts SET
    stored_at = NULL,
    event_id = NULL,
    subject_id = NULL,
    uploadable_until = CASE
        WHEN artifacts.uploadable_until > chosen.now THEN artifacts.uploadable_until
        ELSE (artifacts.created_at / 86400000 + 1) * 86400000 + 3600000
    END
FROM unnest($1::uuid[], $2::bigint[]) AS chosen (id, now)
WHERE artifacts.id = chosen.id AND artifacts.delete_after <= chosen.now AND artifacts.uploadable_until IS NOT NULL
