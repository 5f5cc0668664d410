-- $1: the tenants of the scope, NULL for all; only users who see no more are in it.
SELECT name, role, tenants, created_at, disabled_at, used_at FROM users
WHERE ($1::text IS NULL OR tenants::jsonb <@ $1::text::jsonb)
ORDER BY name
LIMIT 1000
