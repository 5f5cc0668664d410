SELECT number, started_at, duration_ms, outcome, error FROM attempts WHERE job_id = $1 ORDER BY number
