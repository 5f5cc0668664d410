SELECT schema_version, form FROM forms WHERE event_seq = ? ORDER BY seq DESC
