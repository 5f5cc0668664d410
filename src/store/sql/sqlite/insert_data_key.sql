INSERT INTO data_keys (id, tenant, wrapped, wrapped_by, created_at) VALUES (?, ?, ?, ?, ?)
