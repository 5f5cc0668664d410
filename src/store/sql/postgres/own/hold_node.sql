-- As long as the transaction lasts, nobody takes this node for dead. No row: somebody did.
SELECT 1 FROM nodes WHERE id = $1 FOR KEY SHARE
