-- Over, and without an object; nobody's any more. The row stays until no URL can bring the object back.
UPDATE artifacts SET stored_at = NULL, event_id = NULL, subject_id = NULL
FROM unnest($1::uuid[], $2::bigint[]) AS chosen (id, now)
WHERE artifacts.id = chosen.id
    AND artifacts.delete_after <= chosen.now
    AND artifacts.uploadable_until > chosen.now
