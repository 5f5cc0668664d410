-- The lanes of the other nodes that do not flow, as each tells that does.
SELECT id, lanes::text AS lanes FROM nodes WHERE id <> $1 AND lanes IS NOT NULL
