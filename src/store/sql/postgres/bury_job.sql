-- Without an attempt: what the job needs is gone.
UPDATE jobs SET state = 'deadletter', last_error = $2, updated_at = $3, finished_at = $3
WHERE id = $1 AND state IN ('pending', 'failed')
