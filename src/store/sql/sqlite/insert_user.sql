INSERT INTO users (name, password_hash, role, tenants, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO NOTHING
RETURNING name
