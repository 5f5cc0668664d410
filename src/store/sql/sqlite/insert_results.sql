INSERT OR ROLLBACK INTO results (job_id, result, at)
SELECT * FROM (
    VALUES
    (?, ?, ?) -- repeated
)
WHERE column1 IS NOT NULL
ON CONFLICT (job_id) DO UPDATE SET result = excluded.result, at = excluded.at
