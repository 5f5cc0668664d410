-- Nobody adds a job to the event until the transaction ends.
SELECT id FROM events WHERE seq = $1 FOR UPDATE
