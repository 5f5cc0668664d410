INSERT INTO handshakes (tenant, source, at, token) VALUES (?, ?, ?, ?)
