SELECT
    e.seq, e.id, e.tenant, e.source, e.vendor, e.external_id, e.event_type, e.subject_id, e.occurred_at, e.received_at,
    e.secret_version, e.api_version, e.revises, e.status, e.trace_id, p.raw, p.headers, p.redacted, p.quarantine_reason
FROM events AS e
LEFT JOIN payloads AS p ON p.seq = e.seq
WHERE e.id = $2 AND ($1::text IS NULL OR e.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
