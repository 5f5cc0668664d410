-- Nodes whose lease has run out are dead. Waits for a transaction of theirs that is under way.
DELETE FROM nodes WHERE lease_until <= wall_ms() AND id <> $1 RETURNING id
