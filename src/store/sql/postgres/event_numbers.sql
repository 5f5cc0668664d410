-- The next $1 numbers of events; other nodes take theirs between them.
SELECT nextval('events_seq') AS number FROM generate_series(1, $1)
