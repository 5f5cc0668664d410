INSERT INTO lanes (tenant, source, paused, breaker) VALUES (?, ?, ?, ?)
ON CONFLICT (tenant, source) DO UPDATE SET paused = excluded.paused, breaker = excluded.breaker
