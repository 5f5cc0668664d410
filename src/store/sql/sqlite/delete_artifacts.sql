-- Only what is over: an upload may have been used since it was chosen.
WITH chosen (id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
DELETE FROM artifacts
WHERE id IN (SELECT id FROM chosen)
    AND delete_after <= (SELECT max(now) FROM chosen)
    AND (uploadable_until IS NULL OR uploadable_until <= (SELECT max(now) FROM chosen))
RETURNING kind
