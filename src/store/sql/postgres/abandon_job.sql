UPDATE jobs
SET state = CASE attempts WHEN 0 THEN 'pending' ELSE 'failed' END, alone = false, owner = NULL, updated_at = $3
WHERE id = $1 AND state = 'running' AND owner = $2
RETURNING tenant, source, state
