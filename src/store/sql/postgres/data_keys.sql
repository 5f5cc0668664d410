-- Of one tenant, or of all, oldest first.
SELECT id, tenant, wrapped, wrapped_by, created_at, erased_at
FROM data_keys
WHERE $1::text IS NULL OR tenant = $1
ORDER BY tenant, id
