INSERT INTO lanes (tenant, source, paused) VALUES (?, ?, ?)
ON CONFLICT (tenant, source) DO UPDATE SET paused = excluded.paused
