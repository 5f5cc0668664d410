-- Events after $1, oldest first, with whether something may still need them.
SELECT
    e.seq, e.id, e.tenant, e.source, e.received_at, e.secret_version, e.keys_expire,
    e.status <> 'quarantined' AND NOT EXISTS (
        SELECT 1 FROM jobs
        WHERE jobs.event_id = e.id AND jobs.state IN ('pending', 'running', 'failed', 'deadletter')
    ) AS free
FROM events AS e
WHERE e.seq > $1
ORDER BY e.seq
LIMIT $2
