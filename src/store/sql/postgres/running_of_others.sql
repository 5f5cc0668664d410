SELECT id, tenant, source, attempts, deaths, suspicion, alone FROM jobs
WHERE state = 'running' AND owner IS DISTINCT FROM $1
FOR UPDATE
