INSERT OR ROLLBACK INTO watermarks (tenant, source, route, subject_id, occurred_at)
VALUES
    (?, ?, ?, ?, ?) -- repeated
ON CONFLICT (tenant, source, route, subject_id) DO UPDATE SET occurred_at = excluded.occurred_at
WHERE excluded.occurred_at > watermarks.occurred_at
