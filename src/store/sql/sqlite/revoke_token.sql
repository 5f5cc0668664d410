-- ?1: the tenants of the scope, NULL for all; only a token that sees no more is in it.
UPDATE tokens SET revoked_at = ?3
WHERE id = ?2 AND revoked_at IS NULL
    AND (?1 IS NULL OR (tenants IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM json_each(tenants) AS own WHERE own.value NOT IN (SELECT value FROM json_each(?1))
    )))
RETURNING name
