-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
UPDATE jobs
SET state = CASE attempts WHEN 0 THEN 'pending' ELSE 'failed' END, alone = false, owner = NULL, updated_at = $3
WHERE id = $1 AND coalesce(state, '') = 'running' AND owner = $2
RETURNING tenant, source, state
