-- Waits as long as `lock_timeout` allows; held until the connection ends.
SELECT true FROM (SELECT pg_advisory_lock($1)) AS waited
