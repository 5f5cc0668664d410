INSERT INTO tokens (id, digest, name, role, tenants, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
RETURNING name
