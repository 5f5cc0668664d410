INSERT OR ROLLBACK INTO payloads (seq, event_id, raw, headers, redacted, trace_link, quarantine_reason)
VALUES
    (?, ?, ?, ?, ?, ?, ?) -- repeated
