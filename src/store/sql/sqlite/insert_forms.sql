INSERT OR ROLLBACK INTO forms (event_seq, event_id, schema_version, form)
VALUES
    (?, ?, ?, ?) -- repeated
