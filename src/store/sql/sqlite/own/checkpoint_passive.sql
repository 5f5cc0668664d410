-- Moves what no reader needs from the log into the file; waits for nobody.
PRAGMA wal_checkpoint(PASSIVE)
