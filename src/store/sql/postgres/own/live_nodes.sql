SELECT
    id, name, version, started_at, lease_until - wall_ms() AS lease_left, config::text AS config,
    callees::text AS callees
FROM nodes
ORDER BY id
