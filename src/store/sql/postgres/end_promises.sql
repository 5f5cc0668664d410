-- Only what is still nobody's: it may have been used, or asked for once more.
UPDATE artifacts SET delete_after = chosen.now
FROM unnest($1::uuid[], $2::bigint[]) AS chosen (id, now)
WHERE artifacts.id = chosen.id
    AND artifacts.stored_at IS NULL
    AND artifacts.event_id IS NULL
    AND artifacts.uploadable_until <= chosen.now
