INSERT INTO lanes (tenant, source, paused, breaker) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant, source) DO UPDATE SET paused = excluded.paused, breaker = excluded.breaker
