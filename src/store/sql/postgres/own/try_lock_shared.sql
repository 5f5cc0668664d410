-- With the others who serve, until the connection ends.
SELECT pg_try_advisory_lock_shared($1)
