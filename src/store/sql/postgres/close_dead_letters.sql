UPDATE dead_letters SET replayed_at = $2, replayed_by = $3 WHERE job_id = $1 AND replayed_at IS NULL
