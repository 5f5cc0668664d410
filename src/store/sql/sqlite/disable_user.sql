-- ?1: the tenants of the scope, NULL for all; only a user who sees no more is in it.
UPDATE users SET disabled_at = ?3
WHERE name = ?2 AND disabled_at IS NULL
    AND (?1 IS NULL OR (tenants IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM json_each(tenants) AS own WHERE own.value NOT IN (SELECT value FROM json_each(?1))
    )))
RETURNING name
