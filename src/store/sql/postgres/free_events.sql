SELECT e.seq, e.id FROM unnest($1::bigint[]) AS chosen (seq)
JOIN events AS e ON e.seq = chosen.seq
WHERE e.status <> 'quarantined' AND NOT EXISTS (
        SELECT 1 FROM jobs
        WHERE jobs.event_id = e.id AND jobs.state IN ('pending', 'running', 'failed', 'deadletter')
    )
