WITH chosen (tenant, source, key) AS MATERIALIZED (
    VALUES
    (?, ?, ?) -- repeated
)
DELETE FROM keys
WHERE (tenant, source, key) IN (SELECT tenant, source, key FROM chosen)
RETURNING source
