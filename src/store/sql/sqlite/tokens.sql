-- ?1: the tenants of the scope, NULL for all; only tokens that see no more are in it.
SELECT id, name, role, tenants, created_at, expires_at, revoked_at, used_at FROM tokens
WHERE (?1 IS NULL OR (tenants IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM json_each(tenants) AS own WHERE own.value NOT IN (SELECT value FROM json_each(?1))
    )))
ORDER BY created_at DESC, name
LIMIT 1000
