INSERT INTO refusals (tenant, source, at, reason, peer, request, headers, body, body_bytes, hint)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
