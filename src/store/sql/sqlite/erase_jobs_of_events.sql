WITH chosen (event_id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM jobs WHERE event_id IN (SELECT event_id FROM chosen) RETURNING tenant, source, state
