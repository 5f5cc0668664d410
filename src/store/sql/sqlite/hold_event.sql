-- Nothing to hold: the writer is the only one.
SELECT id FROM events WHERE seq = ?1
