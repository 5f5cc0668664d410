-- By the vendor's id: through its index, which begins with it.
SELECT
    e.seq, e.id, e.tenant, e.source, e.vendor, e.external_id, e.event_type, e.subject_id, e.occurred_at, e.received_at,
    e.secret_version, e.api_version, e.revises, e.status, e.trace_id,
    (SELECT p.quarantine_reason FROM payloads AS p WHERE p.seq = e.seq AND e.status = 'quarantined') AS quarantine_reason
FROM events AS e
WHERE e.external_id = $2
    AND ($1::text IS NULL OR e.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
    AND ($3::text IS NULL OR e.tenant = $3)
    AND ($4::text IS NULL OR e.source = $4)
    AND e.seq < $5
-- An expression, so that nobody reads all events backwards instead.
ORDER BY e.seq + 0 DESC
LIMIT $6
