-- This node lives from now on. Asked again where the answer was lost.
INSERT INTO nodes (id, name, version, started_at, lease_until, config)
VALUES ($1, $2, $3, wall_ms(), wall_ms() + $4, $5::text::jsonb)
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
