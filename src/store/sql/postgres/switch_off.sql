INSERT INTO switches (tenant, source, off_at) VALUES ($1, $2, $3)
ON CONFLICT (tenant, source) DO NOTHING
RETURNING tenant
