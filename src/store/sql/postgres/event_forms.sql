SELECT schema_version, form FROM forms WHERE event_seq = $1 ORDER BY seq DESC
