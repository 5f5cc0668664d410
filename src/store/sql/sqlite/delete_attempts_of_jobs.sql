WITH chosen (id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM attempts WHERE job_id IN (SELECT id FROM chosen)
