-- Over, and without an object; nobody's any more. The row stays until no URL can bring the object back, and for its
-- day (and an hour, for clocks differ): on that, the same bytes have the same id, and who removes the one could meet the other.
WITH chosen (id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
UPDATE artifacts SET
    stored_at = NULL,
    event_id = NULL,
    subject_id = NULL,
    uploadable_until = CASE
        WHEN uploadable_until > (SELECT max(now) FROM chosen) THEN uploadable_until
        ELSE (created_at / 86400000 + 1) * 86400000 + 3600000
    END
WHERE id IN (SELECT id FROM chosen) AND delete_after <= (SELECT max(now) FROM chosen) AND uploadable_until IS NOT NULL
