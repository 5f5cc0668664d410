-- Events with no job that could still run.
SELECT e.seq, e.id FROM unnest($1::uuid[]) AS chosen (id)
JOIN events AS e ON e.id = chosen.id
WHERE NOT EXISTS (
        SELECT 1 FROM jobs WHERE jobs.event_id = e.id AND jobs.state IN ('pending', 'running', 'failed')
    )
