INSERT INTO forms (event_seq, event_id, schema_version, form) VALUES ($1, $2, $3, $4)
