-- What was counted, and the newest 20 000 events, which may not be counted yet. $1: the tenants of the scope as a JSON array, NULL for all.
SELECT tenant, source, secret_version, (sum(uses))::bigint AS uses, min(first_at) AS first_at, max(last_at) AS last_at
FROM (
    SELECT tenant, source, secret_version, uses, first_at, last_at FROM secret_uses
    UNION ALL
    SELECT tenant, source, secret_version, 0, min(received_at), max(received_at)
    FROM (SELECT tenant, source, secret_version, received_at FROM events ORDER BY seq DESC LIMIT 20000) AS newest
    GROUP BY tenant, source, secret_version
) AS used
WHERE ($1::text IS NULL OR tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
GROUP BY tenant, source, secret_version
