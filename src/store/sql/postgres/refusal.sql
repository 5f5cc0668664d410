SELECT id, at, tenant, source, reason, peer, request, headers, body, body_bytes, hint
FROM refusals AS r
WHERE r.id = $2 AND ($1::text IS NULL OR r.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
