INSERT INTO refusals (tenant, source, at, reason, peer, request, headers, body, body_bytes, hint)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
