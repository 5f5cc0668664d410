-- The counters of every lane, from the index alone.
SELECT tenant, source, state, count(*) AS jobs FROM jobs
WHERE state IN ('pending', 'failed')
GROUP BY tenant, source, state
