-- What goes with its job's event, where the job goes alone.
WITH chosen (job_id, now) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
UPDATE artifacts SET delete_after = (SELECT max(now) FROM chosen)
WHERE job_id IN (SELECT job_id FROM chosen) AND delete_after IS NULL
