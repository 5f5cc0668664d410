SELECT id, tenant, wrapped, wrapped_by, created_at, erased_at FROM data_keys WHERE id = $1
