INSERT INTO handshakes (tenant, source, at, token) VALUES ($1, $2, $3, $4)
