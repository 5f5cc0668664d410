SELECT
    j.seq, j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.attempts, j.claims, j.deaths, j.next_run_at,
    j.last_error, j.created_at, j.updated_at, j.finished_at, e.event_type, e.subject_id, e.trace_id
FROM jobs AS j
JOIN events AS e ON e.id = j.event_id
WHERE j.event_id = $1
ORDER BY j.seq
