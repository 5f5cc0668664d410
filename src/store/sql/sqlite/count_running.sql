SELECT tenant, source, state, count(*) AS jobs FROM jobs INDEXED BY jobs_running
WHERE state = 'running'
GROUP BY tenant, source
