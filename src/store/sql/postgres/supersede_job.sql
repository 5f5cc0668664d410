UPDATE jobs SET state = 'superseded', updated_at = $2, finished_at = $2
WHERE id = $1 AND state IN ('pending', 'failed')
