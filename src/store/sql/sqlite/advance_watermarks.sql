INSERT OR ROLLBACK INTO watermarks (tenant, source, route, subject_id, occurred_at)
SELECT * FROM (
    VALUES
    (?, ?, ?, ?, ?) -- repeated
)
WHERE column1 IS NOT NULL
ON CONFLICT (tenant, source, route, subject_id) DO UPDATE SET occurred_at = excluded.occurred_at
WHERE excluded.occurred_at > watermarks.occurred_at
