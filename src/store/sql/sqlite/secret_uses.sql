-- Among the newest 20 000 events. ?1: the tenants of the scope as a JSON array, NULL for all.
SELECT tenant, source, secret_version, max(received_at) AS at
FROM events
WHERE seq > (SELECT coalesce(max(seq), 0) - 20000 FROM events)
    AND (?1 IS NULL OR tenant IN (SELECT value FROM json_each(?1)))
GROUP BY tenant, source, secret_version
