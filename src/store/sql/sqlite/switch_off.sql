INSERT INTO switches (tenant, source, off_at) VALUES (?, ?, ?)
ON CONFLICT (tenant, source) DO NOTHING
RETURNING tenant
