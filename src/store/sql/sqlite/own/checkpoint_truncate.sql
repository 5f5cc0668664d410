-- Moves all of the log into the file and gives its space back. Only when nothing is asked, and
-- without waiting for a reader: who asks next must not wait for it.
PRAGMA busy_timeout = 0;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA busy_timeout = 500;
