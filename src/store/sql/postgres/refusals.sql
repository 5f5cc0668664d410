SELECT id, at, tenant, source, reason, peer, request, headers, body, body_bytes, hint
FROM refusals AS r
WHERE ($1::text IS NULL OR r.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb))) AND ($2::text IS NULL OR tenant = $2) AND ($3::text IS NULL OR source = $3)
ORDER BY id DESC
LIMIT $4
