SELECT id, at, tenant, source, reason, peer, request, headers, body, body_bytes, hint
FROM refusals AS r
WHERE r.id = ?2 AND (?1 IS NULL OR r.tenant IN (SELECT value FROM json_each(?1)))
