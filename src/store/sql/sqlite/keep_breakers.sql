INSERT INTO lanes (tenant, source, breaker) VALUES (?, ?, ?)
ON CONFLICT (tenant, source) DO UPDATE SET breaker = excluded.breaker
