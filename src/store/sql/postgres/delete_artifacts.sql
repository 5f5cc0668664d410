-- Only what is over: an upload may have been used since it was chosen. One whose id may come
-- again stays: to the end of its day and an hour, for clocks differ.
DELETE FROM artifacts
USING unnest($1::uuid[], $2::bigint[]) AS chosen (id, now)
WHERE artifacts.id = chosen.id
    AND artifacts.delete_after <= chosen.now
    AND (
        artifacts.uploadable_until IS NULL
        OR greatest(artifacts.uploadable_until, (artifacts.created_at / 86400000 + 1) * 86400000 + 3600000) <= chosen.now
    )
RETURNING artifacts.kind
