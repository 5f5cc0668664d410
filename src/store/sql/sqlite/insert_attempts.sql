INSERT OR ROLLBACK INTO attempts (job_id, number, started_at, duration_ms, outcome, error)
WITH made (job_id, started_at, duration_ms, outcome, error) AS (
    VALUES
    (?, ?, ?, ?, ?) -- repeated
)
SELECT
    made.job_id, 1 + coalesce((SELECT max(number) FROM attempts WHERE job_id = made.job_id), 0), made.started_at,
    made.duration_ms, made.outcome, made.error
FROM made
