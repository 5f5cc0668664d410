INSERT OR ROLLBACK INTO results (job_id, result, at)
VALUES
    (?, ?, ?) -- repeated
ON CONFLICT (job_id) DO UPDATE SET result = excluded.result, at = excluded.at
