-- $1: the tenants of the scope, NULL for all; only tokens that see no more are in it.
SELECT id, name, role, tenants, created_at, expires_at, revoked_at, used_at FROM tokens
WHERE ($1::text IS NULL OR tenants::jsonb <@ $1::text::jsonb)
ORDER BY created_at DESC, name
LIMIT 1000
