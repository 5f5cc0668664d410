WITH chosen (tenant, source, route, subject_id, before) AS MATERIALIZED (
    VALUES
    (?, ?, ?, ?, ?) -- repeated
)
DELETE FROM watermarks
WHERE (tenant, source, route, subject_id) IN (SELECT tenant, source, route, subject_id FROM chosen)
    AND occurred_at < (SELECT before FROM chosen LIMIT 1)
RETURNING route
