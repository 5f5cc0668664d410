-- What the node had is anyone's.
DELETE FROM nodes WHERE id = $1
