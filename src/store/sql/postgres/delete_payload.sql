-- Checked again under the write lock: a job may have come since it was chosen.
DELETE FROM payloads
WHERE seq = $1 AND EXISTS (
    SELECT 1 FROM events AS e
    WHERE e.seq = $1 AND e.status <> 'quarantined' AND NOT EXISTS (
            SELECT 1 FROM jobs
            WHERE jobs.event_id = e.id AND jobs.state IN ('pending', 'running', 'failed', 'deadletter')
        )
)
