UPDATE jobs
SET state = 'pending', class = 2, attempts = 0, deaths = 0, suspicion = 0, next_run_at = $2, updated_at = $3,
    finished_at = NULL
WHERE id = $1 AND state = 'deadletter'
RETURNING tenant, source
