-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
UPDATE jobs
SET state = $2, deaths = $3, suspicion = $4, next_run_at = coalesce($5, next_run_at), last_error = $6, alone = false,
    owner = NULL, updated_at = $7, finished_at = CASE $2 WHEN 'deadletter' THEN $7::bigint END
WHERE id = $1 AND coalesce(state, '') = 'running'
