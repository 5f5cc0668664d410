-- A window of the newest lines before ?8. ?1: the tenants of the scope as a JSON array, NULL for all;
-- what concerns no tenant is for those who see all.
SELECT seq, at, actor, action, tenant, object, reason
FROM audit
WHERE seq < ?8 AND seq >= ?9
    AND (?1 IS NULL OR tenant IN (SELECT value FROM json_each(?1)))
    AND (?2 IS NULL OR tenant = ?2)
    AND (?3 IS NULL OR actor = ?3)
    AND (?4 IS NULL OR action = ?4)
    AND (?5 IS NULL OR object = ?5)
    AND at >= coalesce(?6, -9223372036854775808)
    AND at < coalesce(?7, 9223372036854775807)
ORDER BY seq DESC
LIMIT ?10
