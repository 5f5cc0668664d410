-- Only what is still nobody's: it may have been used, or asked for once more.
WITH chosen (id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
UPDATE artifacts SET delete_after = (SELECT max(now) FROM chosen)
WHERE id IN (SELECT id FROM chosen)
    AND stored_at IS NULL
    AND event_id IS NULL
    AND uploadable_until <= (SELECT max(now) FROM chosen)
