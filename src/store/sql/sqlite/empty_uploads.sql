-- Over, and without an object; nobody's any more. The row stays until no URL can bring the object back.
WITH chosen (id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
UPDATE artifacts SET stored_at = NULL, event_id = NULL, subject_id = NULL
WHERE id IN (SELECT id FROM chosen)
    AND delete_after <= (SELECT max(now) FROM chosen)
    AND uploadable_until > (SELECT max(now) FROM chosen)
