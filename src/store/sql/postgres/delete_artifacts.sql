-- Only what is over: an upload may have been used since it was chosen.
DELETE FROM artifacts
USING unnest($1::uuid[], $2::bigint[]) AS chosen (id, now)
WHERE artifacts.id = chosen.id
    AND artifacts.delete_after <= chosen.now
    AND (artifacts.uploadable_until IS NULL OR artifacts.uploadable_until <= chosen.now)
RETURNING artifacts.kind
