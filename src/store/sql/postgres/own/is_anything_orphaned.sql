-- Whether a dead node left jobs running.
SELECT EXISTS (
    SELECT 1 FROM jobs
    WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = jobs.owner)
) AS orphaned
