-- The counters of every lane, from the index alone.
SELECT tenant, source, state, count(*) AS jobs FROM jobs INDEXED BY jobs_due
WHERE state IN ('pending', 'failed')
GROUP BY tenant, source, state
