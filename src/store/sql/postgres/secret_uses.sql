-- Among the newest 20 000 events. $1: the tenants of the scope as a JSON array, NULL for all.
SELECT tenant, source, secret_version, max(received_at) AS at
FROM (SELECT tenant, source, secret_version, received_at FROM events ORDER BY seq DESC LIMIT 20000) AS newest
WHERE ($1::text IS NULL OR tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
GROUP BY tenant, source, secret_version
