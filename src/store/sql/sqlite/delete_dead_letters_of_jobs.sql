WITH chosen (id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM dead_letters WHERE job_id IN (SELECT id FROM chosen)
