-- ?1: the tenants of the scope, NULL for all; only users who see no more are in it.
SELECT name, role, tenants, created_at, disabled_at, used_at FROM users
WHERE (?1 IS NULL OR (tenants IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM json_each(tenants) AS own WHERE own.value NOT IN (SELECT value FROM json_each(?1))
    )))
ORDER BY name
LIMIT 1000
