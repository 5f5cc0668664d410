-- What other nodes erased or made.
SELECT id, tenant, wrapped, wrapped_by, created_at, erased_at
FROM data_keys
WHERE erased_at >= ?1 OR created_at >= ?1
ORDER BY tenant, id
