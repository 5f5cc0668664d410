-- The number that the sequence of a column gives next.
SELECT setval(pg_get_serial_sequence($1, $2), $3, false)
