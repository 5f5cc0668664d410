-- Only what is over: an upload may have been used since it was chosen. One whose id may come
-- again stays: to the end of its day and an hour, for clocks differ.
WITH chosen (id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
DELETE FROM artifacts
WHERE id IN (SELECT id FROM chosen)
    AND delete_after <= (SELECT max(now) FROM chosen)
    AND (
        uploadable_until IS NULL
        OR max(uploadable_until, (created_at / 86400000 + 1) * 86400000 + 3600000) <= (SELECT max(now) FROM chosen)
    )
RETURNING kind
