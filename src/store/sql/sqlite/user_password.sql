-- Not of who signs in with a provider: they have none.
SELECT password_hash, role, tenants FROM users WHERE name = ?1 AND disabled_at IS NULL AND password_hash <> ''
