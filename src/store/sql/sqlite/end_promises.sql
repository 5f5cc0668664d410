-- Only what is still without an object: it may have been asked for once more.
WITH chosen (id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
DELETE FROM artifacts
WHERE id IN (SELECT id FROM chosen)
    AND stored_at IS NULL
    AND uploadable_until <= (SELECT max(now) FROM chosen)
    AND delete_after > (SELECT max(now) FROM chosen)
RETURNING kind
