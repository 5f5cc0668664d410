SELECT tenant, source, state, count(*) AS jobs FROM jobs
WHERE state = 'running'
GROUP BY tenant, source, state
