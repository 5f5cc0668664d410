WITH chosen (event_id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM attempts
WHERE job_id IN (SELECT jobs.id FROM chosen JOIN jobs ON jobs.event_id = chosen.event_id)
