-- Whatever time they have of their own. An object may have come that nobody told of.
WITH chosen (event_id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
UPDATE artifacts SET
    delete_after = (SELECT max(now) FROM chosen),
    stored_at = coalesce(stored_at, (SELECT max(now) FROM chosen))
WHERE event_id IN (SELECT event_id FROM chosen)
