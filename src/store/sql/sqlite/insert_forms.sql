INSERT OR ROLLBACK INTO forms (event_seq, event_id, schema_version, form)
SELECT * FROM (
    VALUES
    (?, ?, ?, ?) -- repeated
)
WHERE column1 IS NOT NULL
