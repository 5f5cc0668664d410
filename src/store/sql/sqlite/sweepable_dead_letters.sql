SELECT d.job_id FROM dead_letters AS d INDEXED BY dead_letters_open
WHERE d.replayed_at IS NULL AND d.at < ?1
ORDER BY d.at
LIMIT ?2
