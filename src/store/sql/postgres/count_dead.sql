SELECT j.tenant, j.source, j.state, count(*) AS jobs
FROM dead_letters AS d
JOIN jobs AS j ON j.id = d.job_id
WHERE d.replayed_at IS NULL AND j.state = 'deadletter'
GROUP BY j.tenant, j.source, j.state
