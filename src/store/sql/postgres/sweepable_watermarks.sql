SELECT tenant, source, route, subject_id, occurred_at FROM watermarks
WHERE (tenant, source, route, subject_id) > ($1, $2, $3, $4)
ORDER BY tenant, source, route, subject_id
LIMIT $5
