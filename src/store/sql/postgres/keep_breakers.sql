INSERT INTO lanes (tenant, source, breaker) VALUES ($1, $2, $3)
ON CONFLICT (tenant, source) DO UPDATE SET breaker = excluded.breaker
