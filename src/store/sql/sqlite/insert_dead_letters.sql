INSERT OR ROLLBACK INTO dead_letters (job_id, reason, detail, at)
SELECT * FROM (
    VALUES
    (?, ?, ?, ?) -- repeated
)
WHERE column1 IS NOT NULL
