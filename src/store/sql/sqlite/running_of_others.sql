SELECT id, tenant, source, attempts, deaths, suspicion, alone FROM jobs INDEXED BY jobs_running
WHERE state = 'running' AND owner IS NOT ?
