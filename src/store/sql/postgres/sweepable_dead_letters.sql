SELECT d.job_id FROM dead_letters AS d
WHERE d.replayed_at IS NULL AND d.at < $1
ORDER BY d.at
LIMIT $2
