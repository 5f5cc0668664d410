WITH chosen (event_id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM dead_letters
WHERE job_id IN (SELECT jobs.id FROM chosen JOIN jobs ON jobs.event_id = chosen.event_id)
