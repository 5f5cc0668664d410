SELECT id, at, tenant, source, reason, peer, request, headers, body, body_bytes, hint
FROM refusals AS r
WHERE ($1::text IS NULL OR r.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb))) AND ($2::text IS NULL OR tenant = $2) AND ($3::text IS NULL OR source = $3)
    AND at >= coalesce($4, -9223372036854775808) AND at < coalesce($5, 9223372036854775807)
    AND id < coalesce($6, 9223372036854775807)
ORDER BY id DESC
LIMIT $7
