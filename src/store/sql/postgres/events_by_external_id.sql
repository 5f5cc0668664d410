-- By the vendor's id: through its index, lane by lane where no source is named.
WITH RECURSIVE lanes AS (
    (SELECT tenant, source FROM events ORDER BY tenant, source LIMIT 1)
    UNION ALL
    SELECT later.tenant, later.source
    FROM lanes
    CROSS JOIN LATERAL (
        SELECT tenant, source FROM events
        WHERE (tenant, source) > (lanes.tenant, lanes.source)
        ORDER BY tenant, source
        LIMIT 1
    ) AS later
)
SELECT
    e.seq, e.id, e.tenant, e.source, e.vendor, e.external_id, e.event_type, e.subject_id, e.occurred_at, e.received_at,
    e.secret_version, e.api_version, e.revises, e.status, e.trace_id
FROM lanes
JOIN events AS e ON e.tenant = lanes.tenant AND e.source = lanes.source AND e.external_id = $2
WHERE ($1::text IS NULL OR lanes.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
    AND ($3::text IS NULL OR lanes.tenant = $3)
    AND ($4::text IS NULL OR lanes.source = $4)
    AND e.seq < $5
ORDER BY e.seq DESC
LIMIT $6
