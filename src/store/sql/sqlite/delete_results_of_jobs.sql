WITH chosen (id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM results WHERE job_id IN (SELECT id FROM chosen)
