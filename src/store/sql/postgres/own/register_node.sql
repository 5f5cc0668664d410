-- This node lives from now on.
INSERT INTO nodes (id, name, version, started_at, lease_until, config)
VALUES ($1, $2, $3, wall_ms(), wall_ms() + $4, $5::text::jsonb)
