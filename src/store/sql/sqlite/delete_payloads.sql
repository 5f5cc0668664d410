-- Checked again under the write lock: a job may have come since it was chosen.
WITH chosen (seq) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM payloads
WHERE seq IN (
    SELECT e.seq FROM chosen
    JOIN events AS e ON e.seq = chosen.seq
    WHERE e.status <> 'quarantined' AND NOT EXISTS (
            SELECT 1 FROM jobs
            WHERE jobs.event_id = e.id AND jobs.state IN ('pending', 'running', 'failed', 'deadletter')
        )
)
RETURNING seq
