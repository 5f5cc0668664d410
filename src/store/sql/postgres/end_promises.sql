-- Only what is still without an object: it may have been asked for once more.
DELETE FROM artifacts
USING unnest($1::uuid[], $2::bigint[]) AS chosen (id, now)
WHERE artifacts.id = chosen.id
    AND artifacts.stored_at IS NULL
    AND artifacts.uploadable_until <= chosen.now
    AND artifacts.delete_after > chosen.now
RETURNING artifacts.kind
