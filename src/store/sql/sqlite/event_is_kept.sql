-- Nothing is made any more of what was erased with its tenant's keys.
SELECT 1 AS kept FROM events
WHERE
    id = ?1
    AND NOT EXISTS (
        SELECT 1 FROM data_keys WHERE data_keys.tenant = events.tenant AND data_keys.erased_at >= events.received_at
    )
