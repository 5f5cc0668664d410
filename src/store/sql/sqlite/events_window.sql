-- A window of the newest events before ?10, so that no filter makes a query read the whole table.
-- ?1: the tenants of the scope as a JSON array, NULL for all.
SELECT
    e.seq, e.id, e.tenant, e.source, e.vendor, e.external_id, e.event_type, e.subject_id, e.occurred_at, e.received_at,
    e.secret_version, e.api_version, e.revises, e.status, e.trace_id,
    (SELECT p.quarantine_reason FROM payloads AS p WHERE p.seq = e.seq AND e.status = 'quarantined') AS quarantine_reason
FROM events AS e
WHERE e.seq < ?10 AND e.seq >= ?11
    AND (?1 IS NULL OR e.tenant IN (SELECT value FROM json_each(?1)))
    AND (?2 IS NULL OR e.tenant = ?2)
    AND (?3 IS NULL OR e.source = ?3)
    AND (?4 IS NULL OR e.event_type = ?4 OR (?4 GLOB '*[*]' AND substr(e.event_type, 1, length(?4) - 1) = substr(?4, 1, length(?4) - 1)))
    AND (?5 IS NULL OR e.status = ?5)
    AND (?6 IS NULL OR e.subject_id = ?6)
    AND (?7 IS NULL OR e.trace_id = ?7)
    AND e.received_at >= coalesce(?8, -9223372036854775808)
    AND e.received_at < coalesce(?9, 9223372036854775807)
ORDER BY e.seq DESC
LIMIT ?12
