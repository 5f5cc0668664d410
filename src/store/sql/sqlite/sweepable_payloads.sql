-- Payloads after ?1, oldest first, with whether something may still need them.
SELECT p.seq, e.id, e.received_at, e.status <> 'quarantined' AND NOT EXISTS (
        SELECT 1 FROM jobs
        WHERE jobs.event_id = e.id AND jobs.state IN ('pending', 'running', 'failed', 'deadletter')
    ) AS free, EXISTS (
        SELECT 1 FROM artifacts
        WHERE artifacts.event_id = e.id AND artifacts.kind = 'payloads' AND artifacts.stored_at IS NOT NULL
    ) AS archived
FROM payloads AS p
CROSS JOIN events AS e ON e.seq = p.seq
WHERE p.seq > ?1
ORDER BY p.seq
LIMIT ?2
