SELECT id, at, tenant, source, reason, peer, request, headers, body, body_bytes, hint
FROM refusals AS r
WHERE (?1 IS NULL OR r.tenant IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR tenant = ?2) AND (?3 IS NULL OR source = ?3)
    AND at >= coalesce(?4, -9223372036854775808) AND at < coalesce(?5, 9223372036854775807)
    AND id < coalesce(?6, 9223372036854775807)
ORDER BY id DESC
LIMIT ?7
