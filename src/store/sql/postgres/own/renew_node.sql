-- No row: the others took this node for dead.
UPDATE nodes SET lease_until = wall_ms() + $2 WHERE id = $1 RETURNING id
