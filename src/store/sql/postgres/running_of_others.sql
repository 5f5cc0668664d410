-- Of nodes that are dead.
SELECT id, tenant, source, attempts, deaths, suspicion, alone FROM jobs
WHERE state = 'running' AND owner IS DISTINCT FROM $1
    AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = jobs.owner)
FOR UPDATE
