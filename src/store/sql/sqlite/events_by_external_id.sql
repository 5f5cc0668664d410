-- By the vendor's id: through its index, lane by lane where no source is named.
WITH RECURSIVE lanes (tenant, source) AS (
    SELECT * FROM (SELECT tenant, source FROM events INDEXED BY events_external ORDER BY tenant, source LIMIT 1)
    UNION ALL
    SELECT later.tenant, later.source
    FROM lanes
    CROSS JOIN events AS later ON later.seq = (
        SELECT seq FROM events INDEXED BY events_external
        WHERE (tenant, source) > (lanes.tenant, lanes.source)
        ORDER BY tenant, source
        LIMIT 1
    )
)
SELECT
    e.seq, e.id, e.tenant, e.source, e.vendor, e.external_id, e.event_type, e.subject_id, e.occurred_at, e.received_at,
    e.secret_version, e.api_version, e.revises, e.status, e.trace_id
FROM lanes
CROSS JOIN events AS e INDEXED BY events_external
    ON e.tenant = lanes.tenant AND e.source = lanes.source AND e.external_id = ?2
WHERE (?1 IS NULL OR lanes.tenant IN (SELECT value FROM json_each(?1)))
    AND (?3 IS NULL OR lanes.tenant = ?3)
    AND (?4 IS NULL OR lanes.source = ?4)
    AND e.seq < ?5
ORDER BY e.seq DESC
LIMIT ?6
