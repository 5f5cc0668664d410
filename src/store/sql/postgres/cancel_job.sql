-- The fence rises, so that an attempt in flight finds its lease lost.
UPDATE jobs
SET state = 'cancelled', fence = fence + 1, owner = NULL, alone = false, updated_at = $2, finished_at = $2
WHERE id = $1 AND state IN ('pending', 'running', 'failed')
