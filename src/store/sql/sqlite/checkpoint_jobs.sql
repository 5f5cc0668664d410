WITH kept (id, fence, stage, state) AS MATERIALIZED (
    VALUES
    (?, ?, ?, ?) -- repeated
)
UPDATE jobs SET checkpoint = kept.state, stage = kept.stage
FROM kept
WHERE jobs.id = kept.id AND jobs.fence = kept.fence AND jobs.state = 'running'
RETURNING jobs.id
