INSERT INTO tokens (id, digest, name, role, tenants, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING name
