INSERT INTO lanes (tenant, source, paused) VALUES ($1, $2, $3)
ON CONFLICT (tenant, source) DO UPDATE SET paused = excluded.paused
