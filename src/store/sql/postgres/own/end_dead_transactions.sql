-- Ends the transactions of nodes whose lease has run out. A process that is frozen in the midst of one
-- keeps its row, and with it its lanes and jobs, for as long as the server waits for what it says next.
-- Where nodes sign in as several users, each may end what the others have by pg_signal_backend.
SELECT pg_terminate_backend(sessions.pid, 300) AS ended
FROM nodes
JOIN pg_stat_activity AS sessions ON sessions.application_name = 'sluice ' || split_part(nodes.id, '.', 1)
WHERE nodes.lease_until <= wall_ms() AND nodes.id <> $1
    AND sessions.datname = current_database()
    AND (pg_has_role(sessions.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))
    AND EXISTS (
        SELECT 1 FROM pg_locks
        WHERE pg_locks.pid = sessions.pid AND pg_locks.locktype = 'transactionid' AND pg_locks.mode = 'ExclusiveLock'
    )
