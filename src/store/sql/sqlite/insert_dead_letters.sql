INSERT OR ROLLBACK INTO dead_letters (job_id, reason, detail, at)
VALUES
    (?, ?, ?, ?) -- repeated
