-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
-- Without an attempt: what the job needs is gone.
UPDATE jobs SET state = 'deadletter', last_error = $2, updated_at = $3, finished_at = $3
WHERE id = $1 AND coalesce(state, '') IN ('pending', 'failed')
