SELECT number, started_at, duration_ms, outcome, error FROM attempts WHERE job_id = ? ORDER BY number
