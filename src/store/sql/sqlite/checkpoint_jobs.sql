WITH kept (id, fence, state) AS MATERIALIZED (
    VALUES
    (?, ?, ?) -- repeated
)
UPDATE jobs SET checkpoint = kept.state, has_checkpoint = 1
FROM kept
WHERE jobs.id = kept.id AND jobs.fence = kept.fence AND jobs.state = 'running'
RETURNING jobs.id
