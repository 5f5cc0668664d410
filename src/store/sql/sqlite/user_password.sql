SELECT password_hash, role, tenants FROM users WHERE name = ?1 AND disabled_at IS NULL
