WITH begun (id, alone, owner, at) AS MATERIALIZED (
    VALUES
    (?, ?, ?, ?) -- repeated
)
UPDATE jobs
SET state = 'running', claims = jobs.claims + 1, fence = jobs.fence + 1, alone = begun.alone, owner = begun.owner,
    updated_at = begun.at
FROM begun
WHERE jobs.id = begun.id AND jobs.state IN ('pending', 'failed')
